"""What every platform can do, and what they share."""

import abc
import os
import pathlib
import shlex
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]

class PlatformError(Exception):
    """What went wrong, for people: it is printed as it is and the program ends with 1."""


class Platform(abc.ABC):
    """A place where services run. A service has revisions, each made from one image, each with a share of the requests.

    A revision is named by its tag (`candidate`) where it has one, else by its own name. Answers are JSON values.
    """

    @abc.abstractmethod
    def training_image(self) -> dict:
        """Makes the image to train in. {"tools": words to run a program of it with, "" for those of this machine}."""

    @abc.abstractmethod
    def build(self, image: str, source: str, labels: dict) -> dict:
        """Makes `image` (NAME-VERSION), where deploy() finds it, from the serving image and a model: an archive or what
        `flambeau fetch` knows, such as models:/NAME/VERSION. Its lineage becomes labels of the image."""

    @abc.abstractmethod
    def has_image(self, image: str) -> bool: ...

    @abc.abstractmethod
    def deploy(self, service: str, image: str, tag: str, traffic: bool, labels: dict) -> dict:
        """Starts a revision and waits until it is ready; makes the service when there is none.
        {"revision", "url": of the service, "tag_url": of this revision alone}. A revision that does not get ready
        is removed again, and the error says what it wrote last."""

    @abc.abstractmethod
    def traffic(self, service: str, shares: dict) -> dict:
        """Gives shares of the requests, in percent, by tag or revision; what is missing to 100 stays with the
        revisions that had it, in their proportion. Returns what describe() does."""

    @abc.abstractmethod
    def describe(self, service: str) -> dict:
        """{"service", "url", "labels", "revisions": [{"revision", "image", "tag", "percent", "url"}]}, newest last."""

    @abc.abstractmethod
    def remove_tag(self, service: str, tag: str) -> dict:
        """The revision goes on with its share; without one it costs nothing."""

    @abc.abstractmethod
    def stats(self, service: str, seconds: int) -> dict:
        """{revision: {"requests", "errors" (5xx), "p50_ms", "p99_ms"}} of the last `seconds`."""

    @abc.abstractmethod
    def logs(self, service: str, revision: str, lines: int) -> list: ...

    @abc.abstractmethod
    def delete(self, service: str) -> None:
        """Removes a service and what belongs to it. None to remove is no error."""

    @abc.abstractmethod
    def list(self, labels: dict) -> list:
        """[{"service", "labels", "created": seconds since 1970}] of the services that have these labels."""

    @abc.abstractmethod
    def headers(self, url: str) -> list:
        """What a caller of that URL has to send, as "NAME: VALUE"."""


def new_shares(revisions: list, wanted: dict) -> dict:
    """Percent by revision: `wanted` by tag or revision, the rest in proportion among those that had shares."""
    names = {}
    for revision in revisions:
        names[revision["revision"]] = revision["revision"]
        if revision["tag"]:
            names[revision["tag"]] = revision["revision"]
    for name in wanted:
        if name not in names:
            raise PlatformError(f"there is no revision or tag {name!r}; there are: {', '.join(sorted(names))}")
    shares = {names[name]: percent for name, percent in wanted.items()}
    left = 100 - sum(shares.values())
    if left < 0 or min(shares.values()) < 0:
        raise PlatformError(f"shares of {wanted} do not fit into 100 %")
    others = {r["revision"]: r["percent"] for r in revisions if r["revision"] not in shares and r["percent"]}
    if left and not others:
        raise PlatformError(f"nobody is there to take the other {left} %")
    total = sum(others.values())
    for name, percent in others.items():
        shares[name] = percent * left // total
    if left:  # what rounding left over goes to the largest
        shares[max(others, key=others.get)] += 100 - sum(shares.values())
    return {name: percent for name, percent in shares.items() if percent}


def put_model(folder, image: str, source: str, labels: dict) -> None:
    """Fetches a model into folder/models, and writes folder/labels: see deploy/images/model."""
    words = [ROOT / "deploy/images/model", folder, source, "--version", image.rpartition("-")[2]]
    words += [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    scratch = ROOT / "build/steps"
    scratch.mkdir(parents=True, exist_ok=True)
    tools = os.environ.get("FLAMBEAU_TOOLS")
    if tools:  # flambeau is in the training image, which sees this checkout and no other folder
        program = scratch / "flambeau"
        program.write_text(f"#!/bin/sh\nexec {tools} flambeau \"$@\"\n")
        program.chmod(0o755)
        words += ["--program", program]
    done = subprocess.run([str(word) for word in words], cwd=ROOT, env={**os.environ, "TMPDIR": "build/steps"},
                          capture_output=True, text=True)
    if done.returncode:
        raise PlatformError(f"`{shlex.join(str(word) for word in words[:3])}` failed:\n{done.stderr.strip()}")
