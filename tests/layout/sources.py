#!/usr/bin/env python3
"""Checks how the files of the repository look.

Usage: sources.py text|readmes|format [ROOT]
  text     no tab, trailing blank, carriage return or reminder of unfinished work; a newline at the end;
           at most 120 columns of Python, but for bench/
  readmes  every source file has a README.md in its folder, or above it in the same room
  format   clang-format-14 would change nothing
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

SKIPPED = {".git", "build", ".venv", "logs", "__pycache__"}
TEXT = {".h", ".cc", ".py", ".sh", ".cmake", ".md", ".txt", ".json", ".properties", ".yaml", ".yml", ".toml", ".tf", ""}
COLUMNS = 120  # of Python; clang-format sees to C++
RULES = [
    (re.compile("\t"), "a tab"),
    (re.compile("\r"), "a carriage return"),
    (re.compile("[ \t\r]$"), "a blank at the end of the line"),
    (re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b"), "a reminder of unfinished work"),
]


def walk(root):
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - SKIPPED)
        yield from (pathlib.Path(folder, name) for name in sorted(files))


def check_text(root):
    # tests/golden holds bytes as other programs wrote them.
    files = [file for file in walk(root) if file.suffix in TEXT and root / "tests/golden" not in file.parents]
    for file in files:
        path = file.relative_to(root)
        try:
            text = file.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            if file.suffix:  # without a suffix it may be anything
                yield f"{path}:1: is not UTF-8: {error}"
            continue
        for number, line in enumerate(text.split("\n"), 1):
            yield from (f"{path}:{number}: {what}" for pattern, what in RULES if pattern.search(line))
        if path.parts[0] != "bench" and (file.suffix == ".py" or text.startswith("#!/usr/bin/env python3")):
            yield from (f"{path}:{number}: {len(line)} columns, {COLUMNS} are allowed"
                        for number, line in enumerate(text.split("\n"), 1) if len(line) > COLUMNS)
        if text and not text.endswith("\n"):
            yield f"{path}: no newline at the end"


def check_readmes(root):
    rooms = {line.split(":")[0].strip(): None for line in (root / "tests/layout/arrows.txt").read_text().splitlines()
             if line and line[0] not in "#<"}
    for room in rooms:
        for folder in sorted({file.parent for file in (root / room).rglob("*") if file.suffix in (".h", ".cc")}):
            inner = folder.relative_to(root / room).parts
            above = [root.joinpath(room, *inner[:depth]) for depth in range(len(inner) + 1)]
            if not any((place / "README.md").is_file() for place in above):
                yield f"{folder.relative_to(root)}: no README.md here or above it in {room}"


def check_format(root):
    tool = shutil.which("clang-format-14")
    if not tool:
        yield "clang-format-14 is not installed: ./run setup"
        return
    files = [str(file.relative_to(root)) for file in walk(root) if file.suffix in (".h", ".cc")]
    if not files:
        return
    result = subprocess.run([tool, "--dry-run", "-Werror", *files], cwd=root, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        wrong = sorted(set(re.findall(r"^([^:\s]+):\d+:\d+: error", result.stderr, re.MULTILINE)))
        yield from (f"{file}: not formatted" for file in wrong)
        files = " ".join(wrong) if len(wrong) < 9 else "$(git ls-files -co --exclude-standard '*.h' '*.cc')"
        yield f"to format them: clang-format-14 -i {files}" if wrong else result.stderr


CHECKS = {"text": check_text, "readmes": check_readmes, "format": check_format}


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in CHECKS:
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else pathlib.Path(__file__).parents[2]).resolve()
    problems = list(CHECKS[sys.argv[1]](root))
    print(*problems, f"{len(problems)} problems", sep="\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
