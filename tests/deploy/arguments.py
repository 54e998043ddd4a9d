#!/usr/bin/env python3
"""Checks that the program takes what the manifests give it: the arguments of KServe's runtimes, the settings of the
ConfigMap.

Usage: arguments.py PROGRAM MODELS
  PROGRAM  flambeau
  MODELS   folder that holds double.pt
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]


def serve_as_kserve_does(program, models, runtime):
    """With the model in a folder laid out as /mnt/models; only addresses differ, for tests take any free port."""
    text = runtime.read_text()
    arguments = re.findall(r"^ +- (--[\w-]+=\S+)$", text, re.MULTILINE)
    assert arguments, f"{runtime}: no arguments found"
    variables = dict(re.findall(r"\{name: (\w+), value: (\S+)\}", text))
    with tempfile.TemporaryDirectory() as folder:
        mounted = pathlib.Path(folder, "mnt/models")
        mounted.mkdir(parents=True)
        shutil.copy(pathlib.Path(models, "double.pt"), mounted / variables["MODEL_FILE"])
        mounted.chmod(0o555)
        words = []
        for argument in arguments:
            if "-address=" in argument:
                continue
            argument = argument.replace("=/tmp/", f"={folder}/").replace("=/mnt/models", f"={mounted}")
            argument = argument.replace("{{.Name}}", "news")
            words.append(re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], argument))
        with Server(program, folder, words) as server:
            answer = server.ask("inference", "/v1/models/news:predict", b'{"instances": [[1], [2]]}')
            assert answer == '{"predictions":[[2.0],[4.0]]}', answer
            server.ask("inference", "/v2/models/news/ready")
        found = [path.name for path in mounted.iterdir()]
        assert found == [variables["MODEL_FILE"]], "the mounted folder was written to"
    print(f"{runtime.relative_to(ROOT)}: {len(arguments)} arguments")


def check_settings(program, file, folder):
    """--check-config names every key that it does not know or that has a wrong value."""
    text = re.sub(r"^model_store=.*$", f"model_store={folder}", file.read_text(), flags=re.MULTILINE)
    copy = pathlib.Path(folder, "config.properties")
    copy.write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FLAMBEAU_", "TS_"))}
    done = subprocess.run([program, "serve", "--config", copy, "--check-config"], cwd=folder, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{file}:\n{done.stdout}"
    for key in re.findall(r"^(\w+)=", text, re.MULTILINE):
        used = rf"^{key} += .*\({re.escape(str(copy))}:\d+\)$"
        assert re.search(used, done.stdout, re.MULTILINE), f"{file}: {key} is not used"
    print(f"{file.relative_to(ROOT)}: accepted")


def main():
    program, models = map(str, map(pathlib.Path.resolve, map(pathlib.Path, sys.argv[1:])))
    for name in ("servingruntime.yaml", "cluster-servingruntime.yaml"):
        serve_as_kserve_does(program, models, ROOT / "deploy/kserve" / name)
    for file in sorted(ROOT.glob("deploy/**/config.properties")):
        with tempfile.TemporaryDirectory() as folder:
            check_settings(program, file, folder)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main()
