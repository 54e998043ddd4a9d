#!/usr/bin/env python3
"""`flambeau fetch` and a running server against a real MLflow server, which this starts.

Usage: PYTHON mlflow_test.py PROGRAM MODELS    PYTHON: one with mlflow; MODELS: the folder of wire_make_models
"""

import hashlib
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse
import urllib.request

import sources_test
from sources_test import MODELS, environment


class MlflowTest(sources_test.SourcesTest):
    @classmethod
    def setUpClass(cls):
        cls.place = pathlib.Path(tempfile.mkdtemp())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        cls.log = (cls.place / "mlflow.log").open("w")
        cls.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
             "--backend-store-uri", f"sqlite:///{cls.place}/mlflow.db", "--artifacts-destination",
             str(cls.place / "artifacts")], stdout=cls.log, stderr=cls.log, cwd=cls.place)
        cls.uri = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(cls.uri + "/health", timeout=5).close()
                return
            except OSError:
                running = cls.process.poll() is None and time.monotonic() < deadline
                assert running, (cls.place / "mlflow.log").read_text()
                time.sleep(0.2)

    @classmethod
    def tearDownClass(cls):
        cls.process.terminate()
        cls.process.wait()
        cls.log.close()
        shutil.rmtree(cls.place, True)

    def log_file(self, run, folder, name, data):
        url = f"{self.uri}/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/{folder}/{name}"
        urllib.request.urlopen(urllib.request.Request(url, data, method="PUT"), timeout=30).close()

    def post(self, path, body):
        request = urllib.request.Request(f"{self.uri}/api/2.0/mlflow/{path}", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request, timeout=30))

    def new_version(self, name, files):
        run = self.post("runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]["run_id"]
        for path, data in files.items():
            self.log_file(run, "model", path, data)
        try:
            self.post("registered-models/create", {"name": name})
        except urllib.error.HTTPError:
            pass  # there already
        made = self.post("model-versions/create", {"name": name, "source": f"runs:/{run}/model", "run_id": run})
        return run, made["model_version"]["version"]

    def test_an_alias_is_fetched_served_and_pinned(self):
        double, triple = ((MODELS / name).read_bytes() for name in ("double.pt", "triple.pt"))
        run, version = self.new_version("news", {"news.pt": double, "notes.txt": b"n"})
        self.post("registered-models/alias", {"name": "news", "alias": "production", "version": version})
        more = {"MLFLOW_TRACKING_URI": self.uri}
        for uri in ("models:/news@production", f"models:/news/{version}", "models:/news/latest",
                    f"runs:/{run}/model/news.pt", f"mlflow-artifacts:/0/{run}/artifacts/model"):
            got = self.fetched(uri, more)
            self.check(got, double)
        self.assertTrue(got["cached"])
        got = self.fetched("models:/news@production", more)
        self.assertEqual((got["resolved"], got["version"], got["runId"]), (f"models:/news/{version}", version, run))
        self.assertEqual(got["artifact"], f"mlflow-artifacts:/0/{run}/artifacts/model/news.pt")

        store = self.folder / "store"
        store.mkdir()
        flags = ["--allowed-urls", "models:/.*", "--models", "models:/news@production"]
        process, inference, management = self.start(store, more, *flags)
        ran = subprocess.run([sources_test.PROGRAM, "models", "register", "models:/news@production", "--model-name",
                              "again", "--management", management], env=environment(self.folder, more),
                             capture_output=True, text=True, timeout=60)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        source = json.loads(self.call("GET", management + "/models/again")[1])[0]["source"]
        self.assertEqual((source["resolved"], source["sha256"]),
                         (f"models:/news/{version}", hashlib.sha256(double).hexdigest()))
        self.stop(process)

        _, next_version = self.new_version("news", {"news.pt": triple})
        self.post("registered-models/alias", {"name": "news", "alias": "production", "version": next_version})
        self.check(self.fetched("models:/news@production", more), triple)
        process, inference, management = self.start(store, more, *flags)
        for name in ("news", "again"):
            self.assertEqual(json.loads(self.call("POST", f"{inference}/predictions/{name}", b"[1]")[1]), [2.0])
        self.stop(process)

    def test_a_folder_is_fetched_as_a_whole_and_what_cannot_be_served_is_explained(self):
        more = {"MLFLOW_TRACKING_URI": self.uri}
        manifest = {"createdOn": "x", "runtime": "python", "model": {"modelName": "f", "modelVersion": "1.0",
                                                                     "serializedFile": "m.pt", "handler": "tensor"}}
        self.new_version("folder", {"MAR-INF/MANIFEST.json": json.dumps(manifest).encode(),
                                    "m.pt": (MODELS / "double.pt").read_bytes()})
        got = self.fetched("models:/folder/1", more)
        self.assertTrue((pathlib.Path(got["path"]) / "MAR-INF/MANIFEST.json").is_file())
        self.new_version("pickled", {"MLmodel": b"flavors: {}", "model.pkl": b"x"})
        self.assertIn("it is an MLflow model with 2 files", self.refused("models:/pickled/1", more))
        self.assertIn("not found", self.refused("models:/folder@none", more))
        self.assertIn("not found", self.refused("models:/folder/9", more).lower())
        self.assertIn("not found", self.refused("runs:/0123456789abcdef0123456789abcdef/m.mar", more).lower())
        self.assertIn("MLFLOW_TRACKING_URI", self.refused("models:/folder/1"))
        url = urllib.parse.quote("mlflow-artifacts://elsewhere:5000/0/x", safe=":/")
        self.assertIn("names another server", self.refused(url, more))

    def test_a_server_follows_an_alias_and_loses_no_request(self):
        double, triple = ((MODELS / name).read_bytes() for name in ("double.pt", "triple.pt"))
        point_at = lambda version: self.post("registered-models/alias", {
            "name": "followed", "alias": "production", "version": version})
        _, first = self.new_version("followed", {"news.pt": double})
        point_at(first)
        store = self.folder / "store"
        store.mkdir()
        process, inference, management = self.start(
            store, {"MLFLOW_TRACKING_URI": self.uri}, "--follow", "models:/followed@production",
            "--follow-interval", "200")
        answers, ended = [], threading.Event()

        def ask():
            while not ended.is_set():
                answers.append(self.call("POST", inference + "/predictions/followed", b"[1]"))

        def seconds_until(condition):
            begun = time.monotonic()
            while not condition():
                self.assertLess(time.monotonic() - begun, 60, (self.folder / "log").read_text())
                time.sleep(0.01)
            return time.monotonic() - begun

        def versions():
            return [one["modelVersion"] for one in json.loads(self.call("GET", management + "/models/followed/all")[1])]

        def tag_of(version):
            query = urllib.parse.urlencode({"name": "followed", "version": version})
            url = f"{self.uri}/api/2.0/mlflow/model-versions/get?{query}"
            tags = json.load(urllib.request.urlopen(url, timeout=30))["model_version"].get("tags", [])
            return {tag["key"]: tag["value"] for tag in tags}.get("flambeau.check", "")

        client = threading.Thread(target=ask)
        client.start()
        try:
            _, second = self.new_version("followed", {"news.pt": triple})
            point_at(second)
            took = seconds_until(lambda: answers and answers[-1] == (200, "[3.0]") and versions() == [second])
            print(f"a new version served everything {took:.2f} s after its alias moved (looked every 0.2 s)")
            self.assertEqual(tag_of(second), "passed")
            _, broken = self.new_version("followed", {"news.pt": b"no module"})
            point_at(broken)
            took = seconds_until(lambda: tag_of(broken).startswith("failed: "))
            print(f"a broken one was refused after {took:.2f} s: {tag_of(broken)}")
            self.assertEqual(versions(), [second])
            point_at(first)
            took = seconds_until(lambda: answers[-1] == (200, "[2.0]") and versions() == [first])
            print(f"and the first one was back {took:.2f} s after the alias went back")
        finally:
            ended.set()
            client.join()
        self.assertEqual({status for status, _ in answers}, {200})
        print(f"{len(answers)} requests meanwhile, all answered 200")
        self.stop(process)


if __name__ == "__main__":
    names = [name for name in vars(MlflowTest) if name.startswith("test_")]
    suite = unittest.TestSuite(MlflowTest(name) for name in names)
    sys.exit(not unittest.TextTestRunner().run(suite).wasSuccessful())
