#!/usr/bin/env python3
"""What deploy/images/model adds to an image, and says about it.

Usage: model_test.py MODEL_SCRIPT FLAMBEAU MODELS FOLDER
"""

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import unittest

SCRIPT, PROGRAM, MODELS, FOLDER = sys.argv[1:5]
WORK = pathlib.Path(FOLDER)
LINEAGE = {"program": "trainer", "version": "2", "libtorch": "2.13.0", "created": "2026-01-02T03:04:05Z",
           "data": {"file": "a.csv", "sha256": "d" * 64}, "code": {"commit": "c" * 40, "dirty": False}}


def create(name, lineage=None, form="default"):
    """A packed model of this name; its path."""
    words = [PROGRAM, "archive", "create", "--model-name", name, "--version", "3.1", "--force",
             "--export-path", WORK / "store", "--serialized-file", pathlib.Path(MODELS, "mlp.pt")]
    (WORK / "store").mkdir(parents=True, exist_ok=True)
    words += ["--archive-format", form]
    if lineage:
        (WORK / "lineage.json").write_text(json.dumps(lineage))
        words += ["--lineage", WORK / "lineage.json"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return WORK / "store" / (name + {"default": ".mar", "tgz": ".tar.gz", "no-archive": ""}[form])


def manifest(archive):
    ran = subprocess.run([PROGRAM, "archive", "inspect", "--json", archive], check=True, capture_output=True, text=True)
    return json.loads(ran.stdout)


def add(source, *options):
    ran = subprocess.run([SCRIPT, WORK / "made", source, "--program", PROGRAM, *options], capture_output=True,
                         text=True)
    lines = (WORK / "made/labels").read_text().splitlines() if ran.returncode == 0 else []
    return ran, dict(line.split("=", 1) for line in lines)


class ModelTest(unittest.TestCase):
    def setUp(self):
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, WORK, ignore_errors=True)

    def test_lineage_becomes_labels(self):
        archive = create("mlp", LINEAGE)
        ran, labels = add(archive, "--label", "team=news=1")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual((WORK / "made/models/mlp.mar").read_bytes(), archive.read_bytes())
        self.assertEqual((WORK / "made/tag").read_text(), "mlp-3.1\n")
        self.assertEqual(len(labels.pop("flambeau.model.sha256")), 64)
        self.assertEqual(labels, {
            "flambeau.model.name": "mlp", "flambeau.model.version": "3.1", "flambeau.model.git-commit": "c" * 40,
            "flambeau.model.git-dirty": "false", "flambeau.model.created": "2026-01-02T03:04:05Z",
            "flambeau.model.data-sha256": "d" * 64, "flambeau.model.libtorch": "2.13.0",
            "flambeau.model.trainer": "trainer 2", "team": "news=1"})

    def test_what_an_archive_does_not_tell_has_no_label(self):
        ran, labels = add(create("plain"), "--version", "12")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(sorted(labels), ["flambeau.model.name", "flambeau.model.sha256", "flambeau.model.version"])
        self.assertEqual((WORK / "made/tag").read_text(), "plain-12\n")

    def test_the_archive_says_the_version_that_the_tag_says(self):
        archives = [create("plain", LINEAGE), create("plain", LINEAGE, "tgz"), create("plain", LINEAGE, "no-archive")]
        for archive in archives:
            ran, labels = add(archive, "--version", "12")
            self.assertEqual(ran.returncode, 0, ran.stderr)
            made = WORK / "made/models" / ("plain.tar.gz" if archive.name.endswith(".tar.gz") else "plain.mar")
            before, after = manifest(archive), manifest(made)
            self.assertEqual((before["model"].pop("modelVersion"), after["model"].pop("modelVersion")), ("3.1", "12"))
            self.assertEqual(before, after)
            self.assertIn("lineage", after["flambeau"])
            if archive.is_file():  # of what the registry has
                self.assertEqual(labels["flambeau.model.sha256"], hashlib.sha256(archive.read_bytes()).hexdigest())
            verified = subprocess.run([PROGRAM, "archive", "verify", made], capture_output=True, text=True)
            self.assertEqual(verified.returncode, 0, verified.stderr)

    def test_a_damaged_archive_is_refused(self):
        archive = create("broken")
        content = bytearray(archive.read_bytes())
        content[len(content) // 2] ^= 1
        archive.write_bytes(content)
        ran, _ = add(archive)
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn("broken.mar", ran.stderr)
        self.assertFalse((WORK / "made/models/broken.mar").exists())

    def test_wrong_words_are_refused(self):
        for options, text in ((["--label", "nothing"], "KEY=VALUE"), (["--no-such"], "unknown option"),
                              (["--version"], "needs a value")):
            ran, _ = add(WORK / "none.mar", *options)
            self.assertNotEqual(ran.returncode, 0)
            self.assertIn(text, ran.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
