#!/usr/bin/env python3
"""Plays the whole story on this machine: training, image, temporary instance, production, canary, promotion, three bad
versions, roll-back, and the end, with a real MLflow server and the workflows of .github/workflows as they are.

Instances are our own program from image folders, behind nginx (deploy/platform/local.py). `./run rehearsal` calls this.
Exit code 0: every check passed and nothing is left behind.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import workflow
from traffic import Traffic

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL, SERVICE = "news_classification", "news"
MLFLOW_START_SECONDS = 180  # it imports for a long time on a small or busy machine


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Rehearsal:
    def __init__(self, options):
        self.programs = options.programs.resolve()
        self.work = options.work.resolve()
        self.begin = time.monotonic()
        self.passed = self.failed = 0
        self.traffic = self.mlflow = None
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.tracking = f"http://127.0.0.1:{free_port()}"
        self.environment = {
            "FLAMBEAU_PLATFORM": "local", "FLAMBEAU_LOCAL_CLOUD": str(self.work / "cloud"),
            "FLAMBEAU_IMAGE_TREE": str(self.work / "tree"), "MLFLOW_TRACKING_URI": self.tracking,
            "GITHUB_SHA": self.commit(), "GITHUB_RUN_ATTEMPT": "1",
            "PATH": f"{self.programs}:{os.environ['PATH']}",
        }
        os.environ.update(self.environment)

    @staticmethod
    def commit():
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip() or "unknown"

    # --- what is printed ---

    def chapter(self, title, cloud=""):
        print(f"\n[{time.monotonic() - self.begin:5.1f} s] {title}", flush=True)
        if cloud:
            print(f"          in the cloud: {cloud}", flush=True)

    def check(self, title, good, detail=""):
        self.passed += bool(good)
        self.failed += not good
        print(f"   {'ok  ' if good else 'FAIL'}   {title}{f' ({detail})' if detail else ''}", flush=True)

    @staticmethod
    def line(seconds, text, output="", last=2):
        print(f"   {seconds:5.1f} s  {text}", flush=True)
        for row in [row for row in output.splitlines() if row.strip()][-last:]:
            print(f"            | {row[:240]}", flush=True)

    # --- what is done ---

    def platform(self, *words):
        done = subprocess.run([sys.executable, ROOT / "deploy/platform/services.py", *words], capture_output=True,
                              text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return json.loads(done.stdout) if done.stdout.strip() else None

    def workflow(self, name, fails_at=None, says="", **inputs):
        """Runs a workflow. `fails_at`: the step that has to fail, and what it has to say."""
        number = str(int(time.time() * 1000))
        steps = {}

        def report(step, seconds, code, output):
            steps[step] = (code, output)
            if code is None:
                return
            wanted = (code != 0) == (step == fails_at)
            if step == fails_at and says in output:  # what a person has to read
                output = "\n".join(row for row in output.splitlines() if says in row)
            self.line(seconds, step + ("" if code == 0 else f" (exit code {code})"), output, 2 if wanted else 40)

        variables = {"SERVICE": SERVICE, "CANARY_PERCENT": "20", "CANARY_SECONDS": "6", "CANARY_EVERY": "1",
                     "CANARY_REQUESTS": "40", "CANARY_SLACK_MS": "100"}
        good = workflow.run(ROOT / f".github/workflows/{name}.yml",
                            {"vars": variables, "inputs": inputs, "github": {"ref": "refs/heads/main"}},
                            {**self.environment, "GITHUB_RUN_ID": number}, report, self.work)
        if fails_at is None:
            self.check(f"the workflow {name} ended well", good)
        else:
            code, output = steps.get(fails_at, (None, ""))
            self.check(f"it was caught at “{fails_at}”", code not in (0, None))
            self.check(f"which says {says!r}", says in output, "" if says in output else output[-300:])
        return {key: value for _, output in steps.values() for key, _, value in
                (row.partition("=") for row in (output or "").splitlines())}

    def serving(self):
        """Share of the requests by image."""
        shares = {}
        for revision in self.platform("describe", SERVICE)["revisions"]:
            if revision["percent"]:
                shares[revision["image"]] = shares.get(revision["image"], 0) + revision["percent"]
        return shares

    def alias(self, name):
        url = f"{self.tracking}/api/2.0/mlflow/registered-models/alias?name={MODEL}&alias={name}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["model_version"]["version"]
        except urllib.error.HTTPError as error:
            if error.code not in (400, 404):
                raise
            return None  # there is no such alias

    def no_failed_request(self, during):
        self.check(f"no client saw a failure {during}", not self.traffic.faults,
                   f"{sum(self.traffic.answers.values())} requests so far" if not self.traffic.faults
                   else f"{len(self.traffic.faults)} failed, first {self.traffic.faults[0]}")

    # --- the chapters ---

    def set_up(self):
        self.chapter("Set up", "terraform apply makes registry, buckets, accounts, MLflow and its database")
        begin = time.monotonic()
        subprocess.run([ROOT / "deploy/images/tree", self.work / "tree", "--release", self.programs.parent], check=True,
                       stdout=subprocess.DEVNULL)
        size = sum(file.stat().st_size for file in (self.work / "tree").rglob("*") if not file.is_symlink())
        self.line(time.monotonic() - begin, f"the files of the serving image, {size / 1e6:.0f} MB")
        begin = time.monotonic()
        folder = self.work / "mlflow"
        folder.mkdir()
        log = open(folder / "log", "ab")
        self.mlflow = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
             "--port", self.tracking.rpartition(":")[2], "--workers", "1",
             "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
             "--artifacts-destination", str(folder / "artifacts")],
            cwd=folder, stdout=log, stderr=log, start_new_session=True)
        while True:
            try:
                with urllib.request.urlopen(self.tracking + "/version", timeout=5) as answer:
                    version = answer.read().decode()
                break
            except OSError:
                if self.mlflow.poll() is not None or time.monotonic() - begin > MLFLOW_START_SECONDS:
                    text = (folder / "log").read_text()[-2000:]
                    raise RuntimeError(f"the MLflow server does not start:\n{text}") from None
                time.sleep(0.2)
        self.line(time.monotonic() - begin, f"MLflow {version} at {self.tracking}")

    def train(self, title, flags):
        self.chapter(title, "Actions shows the run of `training`, MLflow the run and the new version")
        made = self.workflow("training", data="trainer/sample/news.csv", flags=flags)
        self.check("its temporary instance is gone", self.platform("list", "--label", "purpose=acceptance") == [])
        return made

    def bad_first_release(self):
        """Before anything serves: there is nothing to go back to, and what is not good must not serve either."""
        self.chapter("A first release that answers wrong", "`deployment` ends red, and there is no service")
        version = self.register_spoiled("answers")
        self.workflow("deployment", "Acceptance tests of the candidate", "expected World", tag=f"{MODEL}-{version}")
        self.check("nothing serves", self.platform("list") == [])
        self.check("the alias production names none", self.alias("production") is None)

    def first_deployment(self, made):
        self.chapter(f"Release {MODEL}-{made['version']}: the first one",
                     "the release starts `deployment`; Cloud Run shows the service and its revision")
        self.workflow("deployment", tag=f"{MODEL}-{made['version']}")
        self.check("production serves it", self.serving() == {made["image"]: 100}, str(self.serving()))
        self.check("the alias production names it", self.alias("production") == made["version"])
        url = self.platform("describe", SERVICE)["url"]
        with urllib.request.urlopen(f"{url}/v2/models/{MODEL}", timeout=30) as answer:
            versions = json.load(answer)["versions"]
        self.check("it calls itself what the registry calls it", versions == [made["version"]], f"version {versions}")
        self.traffic = Traffic(url, MODEL)

    def keep_good(self, made):
        """What bad versions are made from."""
        shutil.copy(self.work / f"cloud/images/{made['image']}/models/{MODEL}.mar", self.work / "good.mar")

    def better_version(self, before, made):
        self.check("it is better", float(made["accuracy"]) > float(before["accuracy"]),
                   f"accuracy {before['accuracy']} → {made['accuracy']}")
        self.chapter(f"Release {MODEL}-{made['version']}: canary, then promoted",
                     "Cloud Run shows 20 % for the candidate, then 100 %")
        self.workflow("deployment", tag=f"{MODEL}-{made['version']}")
        self.check("production serves it", self.serving() == {made["image"]: 100}, str(self.serving()))
        self.check("the alias production names it", self.alias("production") == made["version"])
        self.no_failed_request("while it came")

    def bad_version(self, fault, good, what, fails_at, says):
        """A version that somebody registered by hand and released; `good` is what production serves."""
        self.chapter(f"A bad version: {what}", "`deployment` ends red, the service stays as it was")
        version = self.register_spoiled(fault)
        self.workflow("deployment", fails_at, says, tag=f"{MODEL}-{version}")
        self.check("production serves what it did", self.serving() == {good["image"]: 100}, str(self.serving()))
        self.check("the alias production is where it was", self.alias("production") == good["version"])
        if fails_at != "Watch the canary":  # a wrong answer is no failed request, but no client got one either
            figures = self.platform("stats", SERVICE, "--seconds", "3600")
            newest = self.platform("describe", SERVICE)["revisions"][-1]
            self.check("it got no request of a client",
                       newest["image"] == good["image"] or newest["revision"] not in figures)
        self.no_failed_request("meanwhile")

    def register_spoiled(self, fault):
        """Version of the good model with a fault, registered by hand, its image made."""
        begin = time.monotonic()
        folder = self.work / f"spoiled-{time.monotonic_ns()}"
        flambeau = self.programs / "flambeau"
        self.quiet(flambeau, "archive", "extract", self.work / "good.mar", "--to", folder / "files")
        self.quiet(self.programs / "spoil_model", folder / "files/model.pt", folder / "model.pt", fault)
        self.quiet(flambeau, "archive", "create", "--model-name", MODEL, "--version", "1.0",
                   "--handler", "text_classifier", "--serialized-file", folder / "model.pt", "--extra-files",
                   f"{folder}/files/index_to_name.json,{folder}/files/vocabulary.tsv",
                   "--example", folder / "files/example_input.json", "--export-path", folder)
        version = self.quiet(sys.executable, ROOT / "tests/rehearsal/register_archive.py", folder / f"{MODEL}.mar",
                             MODEL)
        version = version.split()[-1]
        self.quiet(ROOT / "deploy/steps/image", MODEL, version)
        self.line(time.monotonic() - begin, f"registered by hand as version {version}, its image made")
        return version

    @staticmethod
    def quiet(*words):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{words[0]} {words[1]}: {done.stdout}{done.stderr}")
        return done.stdout

    def operators(self, first, second):
        self.chapter("An operator goes back a version, and forward again",
                     "`gh workflow run rollback.yml -f revision=…`")
        revisions = {r["image"]: r["revision"] for r in self.platform("describe", SERVICE)["revisions"]}
        for made in (first, second):
            self.workflow("rollback", revision=revisions[made["image"]])
            self.check(f"production serves version {made['version']}", self.serving() == {made["image"]: 100})
        self.no_failed_request("while it changed")

    def destroy(self):
        self.chapter("Destroy", "terraform destroy")
        self.traffic.stop()
        asked = sum(self.traffic.answers.values())
        self.line(0, f"{asked} requests by {len(self.traffic.threads)} clients all the while: {self.traffic.answers}, "
                     f"slowest {self.traffic.slowest * 1000:.0f} ms")
        self.check("zero failed requests", not self.traffic.faults and asked > 1000,
                   "" if not self.traffic.faults else f"{self.traffic.faults[:3]}")
        service = self.work / "cloud/services" / SERVICE
        for revision in self.platform("describe", SERVICE)["revisions"]:
            if revision["percent"]:
                log = self.platform_log(revision["revision"])
                self.line(0, "the last lines of production", log)
        kept = self.work / "exit-codes"
        shutil.copytree(service, kept, ignore=shutil.ignore_patterns("nginx*", "*.log"))
        self.platform("delete", SERVICE)
        codes = {file.name: file.read_text().strip() for file in kept.glob("*.exit")}
        self.check("every instance that was scaled to zero ended with 0", codes and set(codes.values()) == {"0"},
                   str(codes))
        self.end_mlflow()
        left = self.processes()
        self.check("no process is left", not left, "; ".join(left))
        self.check("no service is left", self.platform("list") == [])
        shutil.rmtree(self.work)

    def platform_log(self, revision):
        done = subprocess.run([sys.executable, ROOT / "deploy/platform/services.py", "logs", SERVICE, revision,
                               "--lines", "2"],
                              capture_output=True, text=True)
        return done.stdout

    def end_mlflow(self):
        if self.mlflow and self.mlflow.poll() is None:
            os.killpg(self.mlflow.pid, signal.SIGTERM)
            try:
                self.mlflow.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.mlflow.pid, signal.SIGKILL)
                self.mlflow.wait()

    def processes(self):
        """Command lines of processes that use the folder of this rehearsal."""
        found = []
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            if int(folder.name) == os.getpid():
                continue
            try:
                text = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                here = (folder / "cwd").readlink()
            except OSError:
                continue
            if str(self.work) in text or self.work in (here, *here.parents):
                found.append(f"{folder.name} {text[:120]}")
        return found

    def play(self):
        self.set_up()
        # A thousand words are too few to know much, but enough to be served.
        first = self.train("A merge: a first version", "--max-terms 1000 --epochs 2")
        self.keep_good(first)
        self.bad_first_release()
        self.first_deployment(first)
        second = self.train("A merge: a better version", "")
        self.keep_good(second)
        self.better_version(first, second)
        self.bad_version("shape", second, "a class is missing from its answers", "Start the candidate, without traffic",
                         "the model answered 3 classes, but index_to_name.json names 4 labels")
        self.bad_version("slow", second, "200 ms for an answer", "Watch the canary", "is worse: its p50 is")
        self.bad_version("answers", second, "each class has the score of another", "Acceptance tests of the candidate",
                         "expected World")
        self.operators(first, second)
        self.destroy()

    def clean_up(self):
        """After a break-off: nothing of ours goes on."""
        if self.traffic:
            self.traffic.stop()
        try:
            for service in self.platform("list") or []:
                self.platform("delete", service["service"])
        except RuntimeError as error:
            print(f"rehearsal: could not clean up: {error}", file=sys.stderr)
        self.end_mlflow()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "build/release/bin",
                        help="default: %(default)s")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/rehearsal",
                        help="made anew, removed at the end")
    rehearsal = Rehearsal(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("rehearsal: stopped"))
    try:
        rehearsal.play()
    except (RuntimeError, OSError, KeyError, subprocess.CalledProcessError) as error:
        rehearsal.check(f"the rehearsal broke off: {type(error).__name__}: {error}", False)
        print(f"rehearsal: what there is to look at lies in {rehearsal.work}")
    finally:
        rehearsal.clean_up()
    seconds = time.monotonic() - rehearsal.begin
    print(f"\nrehearsal: {rehearsal.passed} passed, {rehearsal.failed} failed ({seconds:.0f} s)")
    sys.exit(bool(rehearsal.failed))


if __name__ == "__main__":
    main()
