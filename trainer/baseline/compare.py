#!/usr/bin/env python3
"""What scikit-learn, fastText and flambeau-train make of the same rows: mean and spread over several splits.

Usage: compare.py [--seeds 5] [--flambeau-train build/release/bin/flambeau-train] FILE.csv [FILE.csv ...]

All files (class,title,description) are one pool of rows. Each seed draws `--held-out` of them, stratified by class;
every model trains on the rest and is judged on those rows once, none of them chosen by it: of flambeau-train the last
iteration counts.
With --fixed the last file is what models are judged on, and the others are what they train on: one run.
Needs scikit-learn; fastText (PyPI: fasttext-wheel) is left out where it is not installed.
"""

import argparse
import csv
import json
import random
import statistics
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

try:
    import fasttext
except ImportError:
    fasttext = None


def read(path):
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        return list(csv.reader(file))


def text(row):
    return " ".join(row[1:])


def words(longest):
    return TfidfVectorizer(ngram_range=(1, longest), sublinear_tf=True)


def characters():
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)


def scikit_learn(make):
    def run(training, held_out, seed, folder):
        model = make().fit([text(row) for row in training], [row[0] for row in training])
        answers = model.predict([text(row) for row in held_out])
        return sum(answer == row[0] for answer, row in zip(answers, held_out)) / len(held_out)

    return run


def fast_text(training, held_out, seed, folder):
    def line(row):
        return " ".join(text(row).lower().split())

    file = folder / "fasttext.txt"
    file.write_text("".join(f"__label__{row[0]} {line(row)}\n" for row in training), encoding="utf-8")
    model = fasttext.train_supervised(str(file), wordNgrams=2, epoch=25, lr=0.5, thread=1, seed=seed, verbose=0)
    # The C++ part is asked directly: the Python part does not know NumPy 2.
    right = 0
    for row in held_out:
        right += model.f.predict(line(row) + "\n", 1, 0.0, "strict")[0][1] == f"__label__{row[0]}"
    return right / len(held_out)


def flambeau(program, *options):
    def run(training, held_out, seed, folder):
        for name, rows in (("training.csv", training), ("held_out.csv", held_out)):
            with open(folder / name, "w", newline="", encoding="utf-8") as file:
                csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
        subprocess.run([program, "news", "--data", folder / "training.csv", "--validation", folder / "held_out.csv",
                        "--out", folder, "--force", "--quiet", *options], check=True)
        with zipfile.ZipFile(folder / "news_classification.mar") as archive:
            return json.loads(archive.read("metrics.json"))["history"][-1]["validation_accuracy"]

    return run


def split(rows, share, seed):
    by_class = {}
    for row in rows:
        by_class.setdefault(row[0], []).append(row)
    draw = random.Random(seed)
    training, held_out = [], []
    for name in sorted(by_class):
        members = by_class[name]
        draw.shuffle(members)
        count = round(share * len(members))
        held_out += members[:count]
        training += members[count:]
    draw.shuffle(training)
    return training, held_out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.csv")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--held-out", type=float, default=1 / 7, metavar="SHARE")
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--flambeau-train", default="build/release/bin/flambeau-train", metavar="PROGRAM")
    parser.add_argument("--option", action="append", default=[], help="for flambeau-train, e.g. --option=--l2=1e-4")
    arguments = parser.parse_args()

    models = {
        "flambeau-train news": flambeau(arguments.flambeau_train, *arguments.option),
        "LinearSVC, words 1-2 and characters 2-5": scikit_learn(
            lambda: make_pipeline(make_union(words(2), characters()), LinearSVC())),
        "LinearSVC, words 1-2": scikit_learn(lambda: make_pipeline(words(2), LinearSVC())),
        "ComplementNB, words, counts": scikit_learn(lambda: make_pipeline(CountVectorizer(), ComplementNB())),
        "ComplementNB, words 1-2, tf-idf": scikit_learn(lambda: make_pipeline(words(2), ComplementNB())),
    }
    if fasttext is None:
        print("fastText is not installed: left out")
    else:
        models["fastText, words 1-2, 25 epochs"] = fast_text

    files = [read(path) for path in arguments.files]
    pool = [row for file in files for row in file]
    splits = [([row for file in files[:-1] for row in file], files[-1])] if arguments.fixed else [
        split(pool, arguments.held_out, seed) for seed in range(1, arguments.seeds + 1)]
    print(f"{len(splits)} runs, {len(splits[0][0])} rows to train on, {len(splits[0][1])} to judge on")
    for name, run in models.items():
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            scores = [run(training, held_out, seed, Path(folder))
                      for seed, (training, held_out) in enumerate(splits, 1)]
        spread = statistics.stdev(scores) if len(scores) > 1 else 0
        print(f"{name:42} mean {statistics.mean(scores):.4f}  deviation {spread:.4f}  "
              f"{(time.monotonic() - begin) / len(splits):5.1f} s a run  "
              + " ".join(f"{score:.4f}" for score in scores), flush=True)


if __name__ == "__main__":
    main()
