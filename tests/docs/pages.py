#!/usr/bin/env python3
"""Checks the pages that people read.

Usage: pages.py links|alerts|commands|selftest [ROOT]
  links     every relative link of README.md, docs/ and deploy/ leads to a file, and to a heading of it
  alerts    every alert of deploy/prometheus has a heading of its name in docs/operating.md, and no heading
            of an alert is left over; its runbook_url leads there
  commands  every `flambeau COMMAND --option` of docs/operating.md is one that the program has
            (FLAMBEAU_PROGRAM names it; without it nothing is checked)
  selftest  the checks find what is wrong in pages that are made for it
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
ALERT = re.compile(r"^\s*-?\s*alert:\s*[\"']?(\w+)", re.MULTILINE)
# Of a file of rules; the tests of the rules have another form.
RUNBOOK_URL = re.compile(r"^ *- alert: (\w+)\n(?:(?! *- alert:).*\n)*?.*runbook_url: (\S+)$", re.MULTILINE)
RUNBOOK = "docs/operating.md"


def anchors(text):
    """The anchors that GitHub makes of the headings."""
    found, counts = set(), {}
    for title in HEADING.findall(FENCE.sub("", text)):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        number = counts.get(slug, 0)
        counts[slug] = number + 1
        found.add(f"{slug}-{number}" if number else slug)
    return found


def pages(root):
    yield from sorted(root.glob("*.md"))
    for folder in ("docs", "deploy"):
        yield from sorted((root / folder).rglob("*.md"))


def check_links(root):
    for page in pages(root):
        text = page.read_text()
        prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
        for link in LINK.findall(prose):
            if re.match(r"[a-z][a-z0-9+.-]*:", link):  # another place
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            where = f"{page.relative_to(root)}: {link}"
            top = pathlib.Path(os.path.relpath(target, root)).parts[0]
            if not (root / top).exists() and top == "deploy":
                continue  # a copy of the sources alone
            if not target.exists():
                yield f"{where}: there is no such file"
            elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
                yield f"{where}: that page has no such heading"


def check_alerts(root):
    rules = sorted((root / "deploy/prometheus").glob("*.yml"))
    names = {name for file in rules for name in ALERT.findall(file.read_text())}
    if not names:
        return
    headings = set(HEADING.findall(FENCE.sub("", (root / RUNBOOK).read_text())))
    yield from (f"{RUNBOOK}: no heading `{name}`, which is an alert" for name in sorted(names - headings))
    stale = {title for title in headings if re.fullmatch(r"Flambeau[A-Z]\w+", title)} - names
    yield from (f"{RUNBOOK}: `{name}` is no alert of deploy/prometheus" for name in sorted(stale))
    for file in rules:
        for name, url in RUNBOOK_URL.findall(file.read_text()):
            if url != f"{RUNBOOK}#{name.lower()}":
                yield f"{file.relative_to(root)}: the runbook_url of {name} is {url}, not {RUNBOOK}#{name.lower()}"


def commands_of(text):
    """`flambeau a b --c` of the code blocks and of code in lines, as (words, options)."""
    code = FENCE.findall(text) and [match.group(0) for match in FENCE.finditer(text)]
    lines = [line for block in code or [] for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(flambeau [^`\n]+)`", text)
    for line in lines:
        match = re.match(r"\s*\$?\s*(?:\w+=\S* )*flambeau ([a-z][^|>#]*)", line)
        if match:
            words = match.group(1).split()
            options = [word.split("=")[0] for word in words if re.fullmatch(r"--[a-z][\w-]*(=.*)?", word)]
            yield line.strip(), [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)][:2], options


def check_commands(root):
    program = os.environ.get("FLAMBEAU_PROGRAM")
    page = root / RUNBOOK
    if not program or not page.exists():
        return
    helps = {}

    def help_of(words):
        if words not in helps:
            run = subprocess.run([program, *words, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True)
            helps[words] = run.stdout if run.returncode == 0 else ""
        return helps[words]

    common = help_of(())
    serve = help_of(("serve",))
    for line, words, options in commands_of(page.read_text()):
        text = help_of(tuple(words[:1]))
        if not text:
            yield f"{RUNBOOK}: {line}: there is no such command"
            continue
        if "SUBCOMMAND" in text:
            text = help_of(tuple(words))
            if not text:
                yield f"{RUNBOOK}: {line}: there is no such command"
                continue
        known = text + common + (serve if words[0] == "doctor" else "")
        for option in options:
            if not re.search(rf"{re.escape(option)}(?![\w-])", known):
                yield f"{RUNBOOK}: {line}: there is no option {option}"


def check_selftest(_):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "docs").mkdir()
        (root / "deploy/prometheus").mkdir(parents=True)
        (root / "deploy/prometheus/alerts.yml").write_text("groups:\n- rules:\n  - alert: FlambeauDown\n"
                                                              "    runbook_url: docs/operating.md#flambeaugone\n"
                                                              "  - alert: FlambeauLost\n")
        (root / "README.md").write_text("[a](docs/operating.md#two-words) [b](docs/none.md) "
                                        "[c](docs/operating.md#three)\n"
                                        "```\n[d](nothing.md)\n```\n`[e](nothing.md)` [f](https://example.com/x.md)\n")
        (root / RUNBOOK).write_text("# Two, words\n\n## FlambeauDown\n\n## FlambeauGone\n")
        links, alerts = list(check_links(root)), list(check_alerts(root))
        if [line.split(": ", 1)[1] for line in links] != [
                "docs/none.md: there is no such file", "docs/operating.md#three: that page has no such heading"]:
            yield f"links: {links}"
        if [line.split("`")[1] for line in alerts[:2]] != ["FlambeauLost", "FlambeauGone"] or len(alerts) != 3 or (
                "runbook_url of FlambeauDown" not in alerts[2]):
            yield f"alerts: {alerts}"
    found = list(commands_of("`flambeau models list --json`\n"
                             "```\n$ A=b flambeau doctor --config x | y --z\ncurl x\n```\n"))
    wanted = [(["doctor", "x"], ["--config"]), (["models", "list"], ["--json"])]
    if [(words, options) for _, words, options in found] != wanted:
        yield f"commands: {found}"


CHECKS = {"links": check_links, "alerts": check_alerts, "commands": check_commands, "selftest": check_selftest}


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in CHECKS:
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else pathlib.Path(__file__).parents[2]).resolve()
    problems = list(CHECKS[sys.argv[1]](root))
    print(*problems, f"{len(problems)} problems", sep="\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
