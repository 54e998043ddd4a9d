#!/usr/bin/env python3
"""What scikit-learn reaches on the files that flambeau-train reads: the numbers to hold ours against.

Usage: sklearn_baseline.py TRAIN.csv VALIDATION.csv     needs scikit-learn; CSV as class,title,description
"""

import csv
import sys
import time

from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics import accuracy_score
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC


def read(path):
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.reader(file))
    return [" ".join(row[1:]) for row in rows], [row[0] for row in rows]


def words(longest):
    return TfidfVectorizer(ngram_range=(1, longest), sublinear_tf=True)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    (texts, classes), (new_texts, new_classes) = map(read, sys.argv[1:])
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    models = {
        "LinearSVC, words 1-2, tf-idf": make_pipeline(words(2), LinearSVC()),
        "LinearSVC, words 1-2 and characters 2-5, tf-idf": make_pipeline(make_union(words(2), characters), LinearSVC()),
        "ComplementNB, words 1-2, tf-idf": make_pipeline(words(2), ComplementNB()),
        "ComplementNB, words 1-2, counts": make_pipeline(CountVectorizer(ngram_range=(1, 2)), ComplementNB()),
        "ComplementNB, words, tf-idf": make_pipeline(words(1), ComplementNB()),
        "ComplementNB, words, counts": make_pipeline(CountVectorizer(), ComplementNB()),
    }
    print(f"{len(texts)} rows to train on, {len(new_texts)} to validate with")
    for name, model in models.items():
        begin = time.process_time()
        model.fit(texts, classes)
        seconds = time.process_time() - begin
        print(f"{name:50} accuracy {accuracy_score(new_classes, model.predict(new_texts)):.5f}  {seconds:.2f} CPU seconds")


if __name__ == "__main__":
    main()
