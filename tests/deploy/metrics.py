#!/usr/bin/env python3
"""Checks that a real server exports every metric that the files of deploy/ name.

Usage: metrics.py PROGRAM MODELS
  PROGRAM  flambeau
  MODELS   folder that holds double.pt

Starts the program twice (with plain addresses and with TLS, which some metrics need), asks for a prediction, and
compares what /metrics says before and after with the names, labels and label values in the rules, boards, autoscalers
and alert policies.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACES = ["deploy/prometheus/**/*.yml", "deploy/grafana/*.json", "deploy/kubernetes/**/*.yaml", "deploy/knative/*.yaml",
          "deploy/kserve/*.yaml", "deploy/terraform/modules/monitoring/*.tf"]
# A name, and what stands in braces behind it. Recorded ones have a colon.
NAME = re.compile(r"(?<![\w:.-])(?<!\$\{)((?:flambeau|process|ts)_[a-z0-9_]+)(?![\w:])(\s*\{[^{}]*\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
SUFFIXES = ("_bucket", "_count", "_sum")
# Labels that whoever scrapes adds.
ADDED = {"job", "instance", "pod", "namespace", "service", "le", "cluster", "location", "project_id"}
# Labels whose values are fixed.
CLOSED = {"outcome", "reason", "state", "code"}


def scraped(text):
    """{sample name: {label: values}} of a text in Prometheus' format; families without samples have no labels."""
    names = {}
    for line in text.splitlines():
        head = re.match(r"# TYPE (\w+) (\w+)", line)
        if head:
            for name in [head[1] + suffix for suffix in SUFFIXES] if head[2] == "histogram" else [head[1]]:
                names.setdefault(name, {})
        sample = re.match(r"(\w+)\{(.*)\} ", line)
        if sample:
            for label, value in re.findall(r'(\w+)="([^"]*)"', sample[2]):
                names.setdefault(sample[1], {}).setdefault(label, set()).add(value)
    return names


def used(root=ROOT):
    """(file, line number, name, matchers) of each use; a name that an adapter defines (`as: NAME`) is not one."""
    texts = {file.relative_to(root): file.read_text() for place in PLACES for file in sorted(root.glob(place))}
    defined = {name for text in texts.values() for name in re.findall(r'\bas: "?(\w+)', text)}
    for file, text in texts.items():
        if file.suffix == ".json":
            text = text.replace('\\"', '"')
        for match in NAME.finditer(text):
            if match[1] not in defined:
                yield file, text.count("\n", 0, match.start()) + 1, match[1], MATCHER.findall(match[2] or "")


def wrong(uses, names):
    """What is wrong with the uses, one line each."""
    for file, number, name, matchers in uses:
        if name not in names:
            yield f"{file}:{number}: no server exports {name}"
            continue
        for label, operator, value in matchers:
            known = names[name]
            if label in ADDED or not known:
                continue
            if label not in known:
                yield f"{file}:{number}: {name} has no label {label}"
            elif label in CLOSED and "$" not in value:
                values = value.split("|") if "~" in operator else [value]
                yield from (f"{file}:{number}: {name} has no {label}=\"{one}\"" for one in values
                            if one not in known[label])


def check_the_check():
    names = scraped('# TYPE flambeau_a_total counter\nflambeau_a_total{reason="x"} 1\n'
                    '# TYPE flambeau_b_seconds histogram\n')
    uses = [("f", 1, "flambeau_a_total", [("reason", "=~", "x|y"), ("job", "=", "z")]),
            ("f", 2, "flambeau_b_seconds_bucket", [("model_name", "=", "m")]), ("f", 3, "flambeau_b_seconds", []),
            ("f", 4, "flambeau_a_total", [("outcome", "=", "ok")])]
    assert list(wrong(uses, names)) == ['f:1: flambeau_a_total has no reason="y"',
                                        "f:3: no server exports flambeau_b_seconds",
                                        "f:4: flambeau_a_total has no label outcome"]
    found = NAME.findall('sum(rate(flambeau_a_total{reason="x"}[5m])) / model:flambeau_a:rate5m')
    assert found == [("flambeau_a_total", '{reason="x"}')], found


def main():
    check_the_check()
    program, models = map(str, map(pathlib.Path.resolve, map(pathlib.Path, sys.argv[1:])))
    words = ["--model-store", models, "--models", "double.pt", "--config-snapshots", "false", "--tuning", "off"]
    with tempfile.TemporaryDirectory() as folder:
        with Server(program, folder, words) as server:
            idle = scraped(server.ask("metrics", "/metrics"))
            server.ask("inference", "/predictions/double", b"[1]")
            after = scraped(server.ask("metrics", "/metrics"))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
                        "-days", "30",
                        "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, stderr=subprocess.DEVNULL)
        tls = ["--certificate-file", "cert.pem", "--private-key-file", "key.pem"]
        with Server(program, folder, words + tls, scheme="https") as server:
            with_tls = scraped(server.ask("metrics", "/metrics"))
    uses = list(used())
    # What an alert or an autoscaler reads must be there before the first request, or it sees no change.
    for names in (idle, after):
        for name, labels in with_tls.items():
            names.setdefault(name, labels)
    problems = sorted(set(wrong(uses, idle)) | set(wrong(uses, after)))
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{len(uses)} uses of {len({use[2] for use in uses})} metrics in {len({use[0] for use in uses})} files, "
          f"{len(problems)} wrong")
    return 1 if problems or not uses else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main())
