#!/usr/bin/env python3
"""`flambeau fetch` and a running server against stores.py.

Usage: sources_test.py PROGRAM MODELS [unittest's arguments]    MODELS: the folder of wire_make_models
"""

import base64
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import stores

PROGRAM, MODELS = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
LARGE = random.Random(7).randbytes(40 << 20)  # three ranges


def environment(home, more):
    clean = {k: v for k, v in os.environ.items()
             if not re.match("AWS_|GOOGLE_|GCE_|MLFLOW_|STORAGE_|FLAMBEAU_|TS_|XDG_|PORT$|https?_proxy|HTTPS?_PROXY",
                             k)}
    return {**clean, "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true", "NO_GCE_CHECK": "true", **more}


class SourcesTest(unittest.TestCase):
    def setUp(self):
        self.server = stores.Server()
        self.addCleanup(self.server.close)
        self.store = self.server.store
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.keys = {"AWS_ACCESS_KEY_ID": stores.ACCESS, "AWS_SECRET_ACCESS_KEY": stores.SECRET}
        self.aws = {"AWS_ENDPOINT_URL_S3": self.server.url}
        self.google = {"STORAGE_EMULATOR_HOST": self.server.url}

    def run_fetch(self, uri, more=(), flags=()):
        return subprocess.run([PROGRAM, "fetch", uri, "--json", "--cache", str(self.folder / "cache"), *flags],
                              env=environment(self.folder, dict(more)), capture_output=True, text=True, timeout=120)

    def fetched(self, uri, more=(), flags=()):
        ran = self.run_fetch(uri, more, flags)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertNotIn(stores.SECRET, ran.stdout + ran.stderr)
        return json.loads(ran.stdout)

    def refused(self, uri, more=(), flags=()):
        ran = self.run_fetch(uri, more, flags)
        self.assertEqual(ran.returncode, 1, ran.stdout)
        self.assertNotIn(stores.SECRET, ran.stderr)
        return ran.stderr

    def check(self, got, data):
        self.assertEqual(pathlib.Path(got["path"]).read_bytes(), data)
        self.assertEqual(got["sha256"], hashlib.sha256(data).hexdigest())

    # S3

    def test_a_signed_object_is_fetched_and_comes_from_the_cache_then(self):
        uri = "s3://models/a_b/ü+~(1).mar"
        self.store.objects["a_b/ü+~(1).mar"] = b"x" * 1000
        got = self.fetched(uri, {**self.aws, **self.keys})
        self.check(got, b"x" * 1000)
        self.assertEqual((got["uri"], got["cached"]), (uri, False))
        again = self.fetched(uri, {**self.aws, **self.keys})
        self.assertTrue(again["cached"])
        self.assertEqual(again["path"], got["path"])
        self.store.objects["a_b/ü+~(1).mar"] = b"y"
        self.check(self.fetched(uri, {**self.aws, **self.keys}), b"y")

    def test_credentials_are_found_where_amazon_looks(self):
        self.store.objects["m.mar"] = b"m"
        self.store.session = "session+token"
        file = self.folder / "credentials"
        file.write_text(f"[default]\naws_access_key_id = no\naws_secret_access_key = no\n[prod]\n"
                        f"aws_access_key_id = {stores.ACCESS}\naws_secret_access_key={stores.SECRET}\n"
                        f"aws_session_token = session+token\n")
        token = self.folder / "token"
        token.write_text("container-secret\n")
        ways = [{**self.keys, "AWS_SESSION_TOKEN": "session+token"},
                {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "prod"},
                {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self.server.url + "/container",
                 "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)},
                {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.server.url}]
        for way in ways:
            with self.subTest(way=list(way)):
                self.check(self.fetched("s3://models/m.mar", {**self.aws, **way}), b"m")

    def test_what_s3_refuses_is_explained(self):
        self.store.objects["m.mar"] = b"m"
        good = {**self.aws, **self.keys}
        self.assertRegex(self.refused("s3://models/m.mar", self.aws), "there are no credentials; looked at: .*"
                         "AWS_ACCESS_KEY_ID.*credentials: no profile \\[default\\].*AWS_EC2_METADATA_DISABLED")
        for more, uri, wanted in [
                ({}, "s3://models/n.mar", "there is no object n.mar in the bucket models"),
                ({}, "s3://other/m.mar", "there is no bucket other"),
                ({}, "s3://secret/m.mar", "the environment may not read it: they need s3:GetObject"),
                ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://models/m.mar", "the secret key does not fit"),
                ({"AWS_ACCESS_KEY_ID": "AKIDOTHER"}, "s3://models/m.mar", "does not know the access key"),
                ({"AWS_SESSION_TOKEN": "old"}, "s3://models/m.mar", "the session token has expired")]:
            self.assertIn(wanted, self.refused(uri, {**good, **more}))
        self.store.skewed = True
        self.assertIn("the clock of this machine is wrong", self.refused("s3://models/m.mar", good))
        self.assertIn("is no name of a bucket", self.refused("s3://b:1/m.mar", good))
        self.assertIn("it holds a user", self.refused("s3://a@models/m.mar", good))

    def test_the_bucket_tells_its_region(self):
        self.store.objects["m.mar"] = b"m"
        self.store.region = "eu-central-1"
        self.check(self.fetched("s3://models/m.mar", {**self.aws, **self.keys}), b"m")
        self.assertEqual(len(self.store.log), 2)

    def test_a_damaged_object_is_noticed_and_forgotten(self):
        self.store.objects["m.mar"] = b"m" * 100
        self.store.etag = '"' + hashlib.md5(b"other").hexdigest() + '"'
        self.assertIn("what arrived is damaged: its MD5", self.refused("s3://models/m.mar", {**self.aws, **self.keys}))
        self.store.etag = None
        self.check(self.fetched("s3://models/m.mar", {**self.aws, **self.keys}), b"m" * 100)
        self.store.etag = '"0123456789abcdef0123456789abcdef-3"'  # of several parts: no MD5 of the content
        self.check(self.fetched("s3://models/m.mar", {**self.aws, **self.keys}), b"m" * 100)

    # Google Cloud Storage

    def test_an_object_is_fetched_with_each_kind_of_token(self):
        self.store.objects["news/m.mar"] = b"g" * 70000
        key = self.folder / "key.pem"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        account = self.folder / "account.json"
        account.write_text(json.dumps({"type": "service_account", "client_email": "reader@x", "private_key_id": "k1",
                                       "private_key": key.read_text(), "token_uri": self.server.url + "/token"}))
        user = self.folder / "user.json"
        user.write_text(json.dumps({"type": "authorized_user", "client_id": "id", "client_secret": "s/s",
                                    "refresh_token": "r", "token_uri": self.server.url + "/token"}))
        for way in [{"GOOGLE_OAUTH_ACCESS_TOKEN": "token-1"}, {"GOOGLE_APPLICATION_CREDENTIALS": str(account)},
                    {"GOOGLE_APPLICATION_CREDENTIALS": str(user)},
                    {"GCE_METADATA_HOST": self.server.url.removeprefix("http://")}]:
            with self.subTest(way=way):
                shutil.rmtree(self.folder / "cache", True)
                self.check(self.fetched("gs://models/news/m.mar", {**self.google, **way}), b"g" * 70000)
        self.assertIn("/storage/v1/b/models/o/news%2Fm.mar?alt=media", [path for _, path, _ in self.store.log])
        jwt = self.store.tokens[0]
        self.assertEqual(jwt["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer")
        head, claims, signature = jwt["assertion"].split(".")
        decode = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        (self.folder / "signature").write_bytes(decode(signature))
        subprocess.run(["openssl", "rsa", "-in", str(key), "-pubout", "-out", str(self.folder / "public.pem")],
                       check=True, capture_output=True)
        subprocess.run(["openssl", "dgst", "-sha256", "-verify", str(self.folder / "public.pem"), "-signature",
                        str(self.folder / "signature")], input=f"{head}.{claims}".encode(), check=True,
                       capture_output=True)
        self.assertEqual(json.loads(decode(claims))["iss"], "reader@x")
        self.assertEqual(self.store.tokens[1], {"grant_type": "refresh_token", "client_id": "id",
                                                "client_secret": "s/s", "refresh_token": "r"})

    def test_what_google_refuses_is_explained(self):
        self.store.objects["m.mar"] = b"g"
        self.check(self.fetched("gs://public/m.mar", self.google), b"g")
        good = {**self.google, "GOOGLE_OAUTH_ACCESS_TOKEN": "token-1"}
        self.assertIn("it is not public, and there are no credentials", self.refused("gs://models/m.mar", self.google))
        self.assertIn("needs storage.objects.get", self.refused("gs://secret/m.mar", good))
        self.assertIn("there is no bucket other", self.refused("gs://other/m.mar", good))
        self.assertIn("there is no object n.mar in the bucket models", self.refused("gs://models/n.mar", good))
        old = self.refused("gs://models/m.mar", {**good, "GOOGLE_OAUTH_ACCESS_TOKEN": "token-0"})
        self.assertIn("the token of GOOGLE_OAUTH_ACCESS_TOKEN is not accepted", old)
        self.assertNotIn("token-0", old)
        self.store.hash_of = b"other"
        self.assertIn("what arrived is damaged: its CRC32C", self.refused("gs://models/m.mar", good))

    # The way there

    def test_a_large_file_comes_in_ranges(self):
        self.store.objects["l.mar"] = LARGE
        self.check(self.fetched(self.server.url + "/web/l.mar"), LARGE)
        ranges = [asked for _, _, asked in self.store.log]
        self.assertEqual(len(ranges), 3)
        self.assertTrue(all(re.fullmatch(r"bytes=\d+-\d+", asked) for asked in ranges))

    def test_a_broken_connection_is_taken_up_where_it_broke(self):
        self.store.objects["l.mar"] = LARGE
        self.store.break_after = [5 << 20, None, 100]
        self.check(self.fetched(self.server.url + "/web/l.mar"), LARGE)
        self.assertIn(f"bytes={5 << 20}-{(16 << 20) - 1}", [asked for _, _, asked in self.store.log])

    def test_a_later_fetch_goes_on_with_what_is_there(self):
        self.store.objects["l.mar"] = LARGE
        self.store.break_after = [None] + [0] * 40
        self.assertIn("the connection broke", self.refused(self.server.url + "/web/l.mar"))
        self.store.break_after = []
        self.store.log.clear()
        self.check(self.fetched(self.server.url + "/web/l.mar"), LARGE)
        self.assertNotIn(f"bytes=0-{(16 << 20) - 1}", [asked for _, _, asked in self.store.log])

    def test_what_changed_meanwhile_is_fetched_anew(self):
        self.store.objects["l.mar"] = LARGE
        self.store.break_after = [None] + [0] * 40
        self.refused(self.server.url + "/web/l.mar")
        self.store.break_after = []
        other = LARGE[:-1] + b"!"
        self.store.objects["l.mar"] = other
        self.check(self.fetched(self.server.url + "/web/l.mar"), other)

    def test_a_server_without_ranges_or_etags_does_too(self):
        self.store.objects["l.mar"] = LARGE
        self.store.ranges = False
        self.store.break_after = [1000, None]
        self.check(self.fetched(self.server.url + "/web/l.mar"), LARGE)
        self.store.ranges, self.store.etag = True, "none"
        self.store.objects["k.mar"] = LARGE
        self.check(self.fetched(self.server.url + "/web/k.mar"), LARGE)

    def test_a_busy_server_is_asked_again_and_a_redirect_followed(self):
        self.store.objects["m.mar"] = b"m"
        self.store.fail_with = [503, 429]
        self.check(self.fetched(self.server.url + "/web/m.mar"), b"m")
        self.store.location = self.server.url + "/web/m.mar"
        self.check(self.fetched(self.server.url + "/moved.mar"), b"m")
        self.store.location = "http://169.254.169.254/m.mar"
        self.assertIn("link-local or metadata address", self.refused(self.server.url + "/moved.mar"))

    def test_a_digest_and_an_output_can_be_named(self):
        self.store.objects["m.mar"] = b"m"
        self.assertIn("not 00", self.refused(self.server.url + "/web/m.mar", flags=["--sha256", "00"]))
        out = self.folder / "out.mar"
        self.fetched(self.server.url + "/web/m.mar", flags=["--output", str(out)])
        self.assertEqual(out.read_bytes(), b"m")
        self.assertIn("exists already", self.refused(self.server.url + "/web/m.mar", flags=["-o", str(out)]))
        self.assertEqual(self.fetched(str(out))["sha256"], hashlib.sha256(b"m").hexdigest())

    # The server

    def start(self, store, more, *flags):
        ports = self.folder / "ports"
        ports.unlink(missing_ok=True)
        log = (self.folder / "log").open("w")
        self.addCleanup(log.close)
        free = [f"--{api}-address=http://127.0.0.1:0" for api in ("inference", "management", "metrics")]
        process = subprocess.Popen(
            [PROGRAM, "serve", "--model-store", str(store), "--port-file", str(ports), *free, *flags],
            env=environment(self.folder, more), stderr=log, stdout=subprocess.DEVNULL, cwd=self.folder)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + 60
        while True:  # until it answers
            self.assertIsNone(process.poll(), (self.folder / "log").read_text())
            self.assertLess(time.monotonic(), deadline, (self.folder / "log").read_text())
            time.sleep(0.05)
            if not ports.exists():
                continue
            lines = dict(line.split("=") for line in ports.read_text().split())
            inference, management = (f"http://127.0.0.1:{lines[api]}" for api in ("inference", "management"))
            if self.call("GET", inference + "/ping")[0] == 200:
                return process, inference, management

    def stop(self, process):
        process.terminate()
        self.assertEqual(process.wait(60), 0)

    def call(self, method, url, data=None):
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_a_server_serves_an_object_and_after_a_restart_the_same_bytes(self):
        double, triple = ((MODELS / name).read_bytes() for name in ("double.pt", "triple.pt"))
        self.store.objects["news.pt"] = double
        store = self.folder / "store"
        store.mkdir()
        secrets = {**self.aws, **self.keys}
        flags = ["--allowed-urls", "s3://models/.*", "--models", "started=s3://models/news.pt"]
        process, inference, management = self.start(store, secrets, *flags)
        url = urllib.parse.quote("s3://models/news.pt", safe="")
        status, text = self.call("POST", f"{management}/models?url={url}&initial_workers=1&model_name=later")
        self.assertEqual(status, 200, text)
        status, text = self.call("POST", f"{management}/models?url=s3%3A%2F%2Fother%2Fnews.pt")
        self.assertEqual(status, 404)
        self.assertIn("does not match any allowed URL(s)", text)
        described = json.loads(self.call("GET", management + "/models/later")[1])[0]
        source = described["source"]
        self.assertEqual(source["sha256"], hashlib.sha256(double).hexdigest())
        self.assertEqual((source["uri"], described["modelUrl"]), ("s3://models/news.pt", "s3://models/news.pt"))
        self.stop(process)

        self.store.objects["news.pt"] = triple  # what a restart must not serve
        self.store.log.clear()
        process, inference, management = self.start(store, secrets, *flags)
        for name in ("later", "started"):
            self.assertEqual(json.loads(self.call("POST", f"{inference}/predictions/{name}", b"[1]")[1]), [2.0], name)
        self.assertEqual(self.store.log, [], "the cache has it")
        written = "".join(path.read_text(errors="replace") for path in store.rglob("*.cfg"))
        for text in (written, (self.folder / "log").read_text()):
            self.assertNotIn(stores.SECRET, text)
            self.assertNotIn(stores.ACCESS, text)
        self.assertEqual(self.call("DELETE", management + "/models/later")[0], 200)
        self.stop(process)

        shutil.rmtree(store / ".cache")
        process, inference, management = self.start(store, secrets, *flags[:2])
        self.assertEqual(self.call("GET", management + "/models/started")[0], 404)
        self.assertIn("now holds other bytes than before", (self.folder / "log").read_text())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
