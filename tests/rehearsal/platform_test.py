#!/usr/bin/env python3
"""deploy/platform and the steps on Cloud Run, against programs that stand for gcloud and docker, and a made-up
Monitoring."""

import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy/platform"))
from base import PlatformError, new_shares  # noqa: E402

# Answers from state.json what gcloud would, and writes every call down.
FAKE = """#!/usr/bin/env python3
import json, os, pathlib, sys
folder, words = pathlib.Path(os.environ["FAKE"]), [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]
with open(folder / "calls", "a") as file:
    file.write(json.dumps(words) + "\\n")
for prefix, answer in json.loads((folder / "answers.json").read_text()):
    if words[1:len(prefix) + 1] == prefix:
        if answer is None:
            sys.exit("ERROR: (gcloud) it is not there")
        if "then" in answer:  # it fails, but changes what is there
            (folder / "answers.json").write_text(json.dumps(answer["then"]))
            sys.exit("ERROR: (gcloud) it did not get ready")
        print(answer if isinstance(answer, str) else json.dumps(answer))
        break
"""

FAKE_TOOLS = """#!/usr/bin/env python3
import json, os, pathlib, sys, zipfile
words = sys.argv[2:]
MANIFEST = {"model": {"modelName": "m", "modelVersion": "1.0"}}
if words[0] == "fetch":
    with zipfile.ZipFile("build/steps/m.mar", "w") as archive:
        archive.writestr("model.pt", "weights")
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(MANIFEST))
    print(json.dumps({"uri": words[1], "path": "build/steps/m.mar", "version": "3", "runId": "r1"}))
elif words[1] == "inspect":
    print(json.dumps(MANIFEST))
"""


def rows(*answers):
    return [(prefix.split(), answer) for prefix, answer in answers]


def revision(name, image):
    return {"metadata": {"name": name, "creationTimestamp": "2026-11-27T00:00:00Z"},
            "spec": {"containers": [{"image": f"europe-docker.pkg.dev/p/r/flambeau:{image}"}]}}


SERVICE = {"metadata": {"name": "news", "labels": {"a": "b"}},
           "status": {"url": "https://news-x.a.run.app",
                      "traffic": [{"revisionName": "news-1", "percent": 90},
                                  {"revisionName": "news-2", "percent": 10, "tag": "candidate",
                                   "url": "https://candidate---news-x.a.run.app"}]}}
REVISIONS = [revision("news-2", "m-2"), revision("news-1", "m-1")]  # gcloud's order: newest first


class SharesTest(unittest.TestCase):
    REVISIONS = [{"revision": "r1", "tag": "", "percent": 60}, {"revision": "r2", "tag": "", "percent": 40},
                 {"revision": "r3", "tag": "candidate", "percent": 0}]

    def test_the_rest_stays_in_proportion(self):
        self.assertEqual(new_shares(self.REVISIONS, {"candidate": 10}), {"r3": 10, "r1": 54, "r2": 36})
        self.assertEqual(sum(new_shares(self.REVISIONS, {"candidate": 33}).values()), 100)

    def test_all_and_nothing(self):
        self.assertEqual(new_shares(self.REVISIONS, {"r3": 100}), {"r3": 100})
        self.assertEqual(new_shares(self.REVISIONS, {"candidate": 0}), {"r1": 60, "r2": 40})

    def test_what_cannot_be_is_refused(self):
        for shares in ({"r9": 10}, {"r1": 101}, {"r1": -1}):
            with self.assertRaises(PlatformError):
                new_shares(self.REVISIONS, shares)
        with self.assertRaises(PlatformError):
            new_shares([{"revision": "r1", "tag": "", "percent": 100}], {"r1": 10})


class CloudRunTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name in ("gcloud", "docker"):
            (self.folder / name).write_text(FAKE)
            (self.folder / name).chmod(0o755)
        self.answers(("run services describe news", SERVICE), ("run revisions list", REVISIONS))
        self.environment = {
            "PATH": f"{self.folder}:{os.environ['PATH']}", "FAKE": str(self.folder), "FLAMBEAU_PLATFORM": "cloud-run",
            "GCP_PROJECT": "p", "GCP_REGION": "europe-west1", "GCP_REGISTRY": "europe-docker.pkg.dev/p/r"}

    def answers(self, *answers):
        (self.folder / "answers.json").write_text(json.dumps(rows(*answers)))

    def run_program(self, program, *words, code=0, **variables):
        done = subprocess.run([ROOT / program, *words], env={**self.environment, **variables}, capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def platform(self, *words, **more):
        return self.run_program("deploy/platform/services.py", *words, **more)

    def calls(self, *beginning):
        """Calls of a program with these first words, as one text each."""
        rows = [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]
        return [" ".join(words) for words in rows if words[:len(beginning)] == list(beginning)]

    def test_describe_joins_revisions_and_traffic(self):
        described = json.loads(self.platform("describe", "news").stdout)
        self.assertEqual(described["url"], "https://news-x.a.run.app")
        self.assertEqual(described["revisions"], [
            {"revision": "news-1", "image": "m-1", "tag": "", "percent": 90, "url": ""},
            {"revision": "news-2", "image": "m-2", "tag": "candidate", "percent": 10,
             "url": "https://candidate---news-x.a.run.app"}])

    def test_a_candidate_gets_no_traffic_but_a_tag_and_probes(self):
        self.answers(("run services describe news", SERVICE), ("run revisions list", REVISIONS),
                     ("run deploy", {"status": {"latestCreatedRevisionName": "news-2"}}))
        done = self.platform("deploy", "news", "--image", "m-2", "--tag", "candidate", "--no-traffic")
        self.assertEqual(json.loads(done.stdout)["tag_url"], "https://candidate---news-x.a.run.app")
        call, = self.calls("gcloud", "run", "deploy", "news")
        for words in ("--image europe-docker.pkg.dev/p/r/flambeau:m-2", "--tag candidate",
                      "--no-traffic", "--region europe-west1", "--project p"):
            self.assertIn(words, call)
        self.assertNotIn("--cpu", call)  # Terraform's

    def test_the_first_revision_takes_its_requests(self):
        self.answers(("run services describe news", None), ("run deploy", None), ("run revisions list", None))
        done = self.platform("deploy", "news", "--image", "m-1", "--tag", "candidate", "--no-traffic", code=1)
        self.assertIn("it is not there", done.stderr)  # gcloud's own words
        call, = self.calls("gcloud", "run", "deploy", "news")
        self.assertNotIn("--no-traffic", call)
        for words in ("--no-allow-unauthenticated", "httpGet.path=/v2/health/ready", "--cpu 2"):
            self.assertIn(words, call)

    def test_traffic_names_every_share(self):
        self.platform("traffic", "news", "candidate=25")
        self.assertIn("--to-revisions news-2=25,news-1=75",
                      self.calls("gcloud", "run", "services", "update-traffic")[0])

    def test_roll_back_and_promotion(self):
        self.run_program("deploy/steps/rollback", "news")
        calls = self.calls("gcloud", "run", "services", "update-traffic", "news")
        self.assertIn("--to-revisions news-1=100", calls[0])
        self.assertIn("--remove-tags candidate", calls[1])
        done = self.run_program("deploy/steps/promote", "news")
        self.assertIn("previous=news-1", done.stdout)
        self.assertIn("--to-revisions news-2=100", self.calls("gcloud", "run", "services", "update-traffic", "news")[2])

    def test_a_first_release_that_is_not_good_leaves_no_service(self):
        alone = {"metadata": {"name": "news"}, "status": {"url": "https://news-x.a.run.app", "traffic": [
            {"revisionName": "news-1", "percent": 100, "tag": "candidate",
             "url": "https://candidate---news-x.a.run.app"}]}}
        self.answers(("run services describe news", alone), ("run revisions list", REVISIONS[1:]))
        self.run_program("deploy/steps/rollback", "news", "news-1")  # an operator wants it all the same
        self.assertEqual(self.calls("gcloud", "run", "services", "delete"), [])
        self.assertIn("NOTHING SERVES NOW", self.run_program("deploy/steps/rollback", "news").stderr)
        self.assertIn("delete news", self.calls("gcloud", "run", "services", "delete")[0])

    def test_a_candidate_beside_others_is_never_a_reason_to_remove_the_service(self):
        for shares in ((0, 100), (100, 0)):
            traffic = [{"revisionName": "news-1", "percent": shares[0]},
                       {"revisionName": "news-2", "percent": shares[1], "tag": "candidate", "url": "https://c"}]
            self.answers(("run services describe news",
                          {**SERVICE, "status": {**SERVICE["status"], "traffic": traffic}}),
                         ("run revisions list", REVISIONS))
            self.run_program("deploy/steps/rollback", "news")
        self.assertEqual(self.calls("gcloud", "run", "services", "delete"), [])

    def test_a_new_service_whose_revision_does_not_get_ready_is_removed(self):
        there = rows(("run services describe news", SERVICE), ("run revisions list", REVISIONS[1:]))
        self.answers(("run services describe news", None), ("run deploy", {"then": there}))
        self.assertIn("did not get ready", self.platform("deploy", "news", "--image", "m-1", code=1).stderr)
        self.assertEqual(len(self.calls("gcloud", "run", "services", "delete", "news")), 1)
        self.answers(("run services describe news", SERVICE), ("run deploy", {"then": there}),
                     ("run revisions list", REVISIONS))
        self.platform("deploy", "news", "--image", "m-1", code=1)  # of a service that is there
        self.assertEqual(len(self.calls("gcloud", "run", "services", "delete", "news")), 1)

    def test_a_temporary_instance_has_a_name_that_cloud_run_takes(self):
        self.answers(("run services describe", None), ("run deploy", None), ("run revisions list", None))
        done = self.run_program("deploy/steps/temporary", "News_Classification.v2-12", code=1,
                                GITHUB_RUN_ID="1234567890123")
        name = done.stdout.splitlines()[0].removeprefix("service=")  # known even though it did not start
        self.assertRegex(name, r"^try-[a-z0-9-]{1,45}$")
        self.assertIn("--labels purpose=acceptance", self.calls("gcloud", "run", "deploy", name)[0])

    def test_tear_down_removes_temporary_instances_only(self):
        self.answers(("run services describe", SERVICE))
        self.run_program("deploy/steps/tear-down", "news", code=1)
        self.run_program("deploy/steps/tear-down")
        self.run_program("deploy/steps/tear-down", "try-news-1")
        self.assertEqual(len(self.calls("gcloud", "run", "services", "delete")), 1)

    def test_the_token_of_a_tag_is_for_the_service(self):
        self.answers(("auth print-identity-token", "TOKEN"))
        done = self.platform("headers", "https://candidate---news-x.a.run.app")
        self.assertEqual(done.stdout, "Authorization: Bearer TOKEN\n")
        self.assertIn("--audiences=https://news-x.a.run.app", self.calls("gcloud", "auth", "print-identity-token")[0])

    def test_build_hands_labels_and_arguments_to_docker(self):
        # Stands for the training image: it "verifies" any archive and knows what made it.
        for made in ("build/image", "build/steps"):
            self.addCleanup(shutil.rmtree, ROOT / made, ignore_errors=True)
        tools = self.folder / "tools"
        tools.write_text(FAKE_TOOLS)
        tools.chmod(0o755)
        self.platform("build", "m-3", "models:/m/3", "--label", "a=b", FLAMBEAU_BUILD_FLAGS="--cache-from type=gha",
                      FLAMBEAU_TOOLS=str(tools), GITHUB_SHA="abc")
        call, = self.calls("docker", "buildx", "build")
        for words in ("--target serve-with-model", "--tag europe-docker.pkg.dev/p/r/flambeau:m-3", "--label a=b",
                      "--label flambeau.model.version=3", "--label flambeau.model.run-id=r1",
                      "--build-arg REVISION=abc",
                      f"--build-context model={ROOT}/build/image", "--cache-from type=gha", "--push"):
            self.assertIn(words, call)
        with zipfile.ZipFile(ROOT / "build/image/models/m.mar") as archive:  # 1.0 in the registry
            self.assertEqual(json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]["modelVersion"], "3")
            self.assertEqual(archive.read("model.pt"), b"weights")

    def test_watch_compares_what_monitoring_says(self):
        monitoring = FakeMonitoring(self)
        self.answers(("run services describe news", SERVICE), ("run revisions list", REVISIONS),
                     ("auth print-access-token", "ACCESS"))
        more = {"FLAMBEAU_MONITORING_URL": monitoring.url + "/{project}?{query}"}
        words = ("deploy/steps/watch", "news", "--seconds", "1", "--every", "1", "--min-requests", "50")
        done = self.run_program(*words, **more)
        self.assertIn("candidate: 120 requests, 0 errors, p50 10 ms, p99 30 ms", done.stderr)
        self.assertEqual(monitoring.tokens, {"Bearer ACCESS"})
        monitoring.errors = 12
        self.assertIn("9.1% of its requests fail", self.run_program(*words, code=3, **more).stderr)
        monitoring.errors, monitoring.slow = 0, 9
        self.assertIn("its p99 is 270 ms", self.run_program(*words, code=3, **more).stderr)
        monitoring.slow = 1
        self.assertIn("500 are needed", self.run_program(*words[:-1], "500", code=3, **more).stderr)

    def test_what_is_missing_is_named(self):
        del self.environment["GCP_REGION"]
        self.assertIn("set GCP_REGION", self.platform("describe", "news", code=1).stderr)
        self.assertIn("known are cloud-run and local",
                      self.platform("describe", "news", code=1, FLAMBEAU_PLATFORM="moon").stderr)

    def test_steps_explain_themselves(self):
        for step in sorted((ROOT / "deploy/steps").iterdir()):
            if os.access(step, os.X_OK):
                self.assertIn("xample:", self.run_program(step, "--help").stdout, step)

    def test_a_release_tag_is_a_name_and_a_number(self):
        for tag in ("news", "news-", "-7", "news-v7", "news-7;rm", ""):
            self.run_program("deploy/steps/release", tag, code=1)
        self.assertIn("image=news-eu-7", self.run_program("deploy/steps/release", "news-eu-7").stdout)


class FakeMonitoring(http.server.ThreadingHTTPServer):
    def __init__(self, test):
        super().__init__(("127.0.0.1", 0), MonitoringHandler)
        self.errors, self.slow, self.tokens = 0, 1, set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        test.addCleanup(self.server_close)
        test.addCleanup(self.shutdown)


class MonitoringHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.tokens.add(self.headers["Authorization"])
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        value = {"ALIGN_PERCENTILE_50": 10.0, "ALIGN_PERCENTILE_99": 30.0}.get(query["aggregation.perSeriesAligner"])
        series = []
        for name in ("news-1", "news-2"):
            labels = {"resource": {"labels": {"revision_name": name}}}
            slower = server.slow if name == "news-2" else 1
            if value is not None:
                series.append({**labels, "points": [{"value": {"doubleValue": value * slower}}]})
                continue
            counts = {"2xx": 120, "5xx": server.errors if name == "news-2" else 0}
            series += [{**labels, "metric": {"labels": {"response_code_class": code}},
                        "points": [{"value": {"int64Value": str(count)}}]} for code, count in counts.items()]
        body = json.dumps({"timeSeries": series}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    unittest.main()
