#!/usr/bin/env python3
"""Copies an archive and writes another version of its model into the manifest; no other file of it changes.

set_version.py ARCHIVE TARGET VERSION    ARCHIVE: .mar, .tar.gz, .tgz or a folder
"""

import copy
import io
import json
import pathlib
import shutil
import sys
import tarfile
import zipfile

MANIFEST = "MAR-INF/MANIFEST.json"


def with_version(text, version):
    manifest = json.loads(text)
    manifest["model"]["modelVersion"] = version
    return json.dumps(manifest, indent=2, ensure_ascii=False).encode()


def copy_zip(source, target, version):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            if entry.filename == MANIFEST:
                new.writestr(copy.copy(entry), with_version(old.read(entry), version))
            elif entry.is_dir():
                new.writestr(copy.copy(entry), b"")
            else:
                with old.open(entry) as content, new.open(copy.copy(entry), "w", force_zip64=True) as to:
                    shutil.copyfileobj(content, to)


def copy_tar(source, target, version):
    with tarfile.open(source, "r:gz") as old, tarfile.open(target, "w:gz") as new:
        for entry in old:
            content = old.extractfile(entry) if entry.isfile() else None
            if entry.isfile() and entry.name.removeprefix("./").split("/", 1)[-1] == MANIFEST:
                text = with_version(content.read(), version)
                entry.size, content = len(text), io.BytesIO(text)
            new.addfile(entry, content)


def copy_folder(source, target, version):
    shutil.copytree(source, target)
    manifest, = [file for file in pathlib.Path(target).glob(f"**/{MANIFEST}")]
    manifest.write_bytes(with_version(manifest.read_text(), version))


def main():
    source, target, version = sys.argv[1:]
    if pathlib.Path(source).is_dir():
        copy_folder(source, target, version)
    elif source.endswith((".tar.gz", ".tgz")):
        copy_tar(source, target, version)
    else:
        copy_zip(source, target, version)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main()
