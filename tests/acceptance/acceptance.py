#!/usr/bin/env python3
"""Checks a running server from outside, as a client sees it. Exit code 0: every case passed.

Example:
  acceptance.py http://127.0.0.1:8080 news_classification --management http://127.0.0.1:8081 \\
      --metrics http://127.0.0.1:8082 --expect-version 1.0
"""

import argparse
import csv
import http.client
import json
import math
import pathlib
import re
import statistics
import sys
import time
import urllib.parse

LATENCY_CALLS = 20
# The first that is there counts: TorchServe's name, then our own.
REQUEST_COUNTERS = ("ts_inference_requests_total", "flambeau_predictions_total")


class Client:
    """One connection that is kept alive, to one base URL, which may have a path."""

    def __init__(self, base, timeout, headers):
        url = urllib.parse.urlsplit(base)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise SystemExit(f"acceptance: {base!r} is no URL such as http://127.0.0.1:8080")
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(url.hostname, url.port, timeout=timeout)
        self.path = url.path.rstrip("/")
        self.headers = headers

    def call(self, method, path, body=None):
        """Status and body as text. A body is sent as plain text."""
        headers = dict(self.headers)
        if body is not None:
            headers["Content-Type"] = "text/plain"
        try:
            self.connection.request(method, self.path + path, body, headers)
            response = self.connection.getresponse()
            return response.status, response.read().decode("utf-8")
        except (OSError, http.client.HTTPException):
            self.connection.close()  # the next call connects again
            raise


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def shortened(text):
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:200] + "…"


def expect_status(wanted, status, body):
    expect(status == wanted, f"expected status {wanted}, got {status}: {shortened(body)}")


def parse_json(body):
    try:
        return json.loads(body)
    except ValueError as error:
        raise AssertionError(f"the body is no JSON ({error}): {shortened(body)}") from None


def expect_error(wanted, status, body):
    """The error body that every route answers with."""
    expect_status(wanted, status, body)
    error = parse_json(body)
    expect(isinstance(error, dict) and error.get("code") == wanted, f"no code {wanted} in {shortened(body)}")
    for key in ("type", "message"):
        expect(isinstance(error.get(key), str) and error[key], f"no {key} in {shortened(body)}")


class Acceptance:
    """The cases: each method whose name begins with `case_`, in this order; its first comment line is its title."""

    def __init__(self, options):
        self.options = options
        headers = dict(header.split(":", 1) for header in options.header)
        self.headers = {name.strip(): value.strip() for name, value in headers.items()}
        self.inference = self.client(options.inference)
        self.predictions = json.loads(options.cases.read_text(encoding="utf-8"))["predictions"]
        self.route = "/predictions/" + urllib.parse.quote(options.model, safe="")

    def client(self, base):
        return base and Client(base, self.options.timeout_s, self.headers)

    def predict(self, text):
        status, body = self.inference.call("POST", self.route, text.encode())
        expect_status(200, status, body)
        return parse_json(body)

    def case_ping(self):
        """ping is healthy"""
        status, body = self.inference.call("GET", "/ping")
        expect_status(200, status, body)
        expect(parse_json(body) == {"status": "Healthy"}, f"unexpected body: {shortened(body)}")

    def case_predict(self):
        """clear sentences get their class first, probabilities add up to 1"""
        for case in self.predictions:
            answer = self.predict(case["text"])
            numbers = isinstance(answer, dict) and all(type(value) in (int, float) for value in answer.values())
            expect(numbers and answer, f"no object of label and probability: {shortened(json.dumps(answer))}")
            expect(all(0 <= value <= 1 for value in answer.values()), f"not all within 0 and 1: {answer}")
            total = math.fsum(answer.values())
            expect(abs(total - 1) < 0.001, f"the probabilities add up to {total}: {answer}")
            expect(list(answer.values()) == sorted(answer.values(), reverse=True), f"the best is not first: {answer}")
            first = next(iter(answer))
            expect(first == case["first"], f"expected {case['first']} for {case['text']!r}, got {answer}")

    def case_labelled(self):
        """labelled sentences are classified well enough"""
        with open(self.options.labelled, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        wrong = [text for label, text in rows if next(iter(self.predict(text)), None) != label]
        share = 1 - len(wrong) / len(rows)
        expect(share >= self.options.min_accuracy,
               f"{share:.2f} of {len(rows)} are right, {self.options.min_accuracy:g} is asked for; wrong: {wrong[:1]}")
        return f"{share:.2f} of {len(rows)} are right"

    def case_empty_body(self):
        """an empty body is refused with 400"""
        expect_error(400, *self.inference.call("POST", self.route, b""))

    def case_unknown_model(self):
        """an unknown model is refused with 404"""
        expect_error(404, *self.inference.call("POST", "/predictions/no_such_model", b"text"))

    def case_latency(self):
        """the median latency is within the budget"""
        times = []
        for index in range(LATENCY_CALLS):
            begin = time.perf_counter()
            self.predict(self.predictions[index % len(self.predictions)]["text"])
            times.append((time.perf_counter() - begin) * 1000)
        median = statistics.median(times)
        budget = self.options.latency_budget_ms
        expect(median <= budget, f"the median of {LATENCY_CALLS} calls is {median:.1f} ms, the budget {budget:g} ms")
        return f"median {median:.2f} ms, slowest {max(times):.2f} ms of {LATENCY_CALLS}"

    def counted(self, client):
        """Sum of the model's request counter over its label sets, or None."""
        status, body = client.call("GET", "/metrics")
        expect_status(200, status, body)
        for name in REQUEST_COUNTERS:
            pattern = rf'^{name}\{{[^}}]*model_name="{re.escape(self.options.model)}"[^}}]*\}} (\S+)'
            values = re.findall(pattern, body, re.MULTILINE)
            if values:
                return sum(map(float, values))
        return None

    def case_metrics(self):
        """the metrics count the model's requests"""
        client = self.client(self.options.metrics)
        if client is None:
            return None
        before = self.counted(client)
        expect(before is not None, f"none of {', '.join(REQUEST_COUNTERS)} for model {self.options.model}")
        self.predict(self.predictions[0]["text"])
        after = self.counted(client)
        expect(after is not None and after > before, f"after one more prediction the counter went {before} -> {after}")
        return f"{after:g} so far"

    def case_describe(self):
        """describe gives the version and a ready worker, and that version answers"""
        client = self.client(self.options.management)
        if client is None:
            return None
        status, body = client.call("GET", "/models/" + urllib.parse.quote(self.options.model, safe=""))
        expect_status(200, status, body)
        described = parse_json(body)
        expect(isinstance(described, list) and described, f"no list of versions: {shortened(body)}")
        version, wanted = described[0].get("modelVersion"), self.options.expect_version
        expect(isinstance(version, str) and version, f"no modelVersion: {shortened(body)}")
        expect(wanted in (None, version), f"expected version {wanted}, the server has {version}")
        ready = [worker for worker in described[0].get("workers", []) if worker.get("status") == "READY"]
        expect(ready, f"no worker is READY: {shortened(body)}")
        path = self.route + "/" + urllib.parse.quote(version, safe="")
        expect_status(200, *self.inference.call("POST", path, self.predictions[0]["text"].encode()))
        return f"version {version}"

    def run(self):
        """Runs every case; returns how many passed and failed. A case whose URL was not given is left out."""
        passed = failed = 0
        needs = {"case_labelled": self.options.labelled, "case_metrics": self.options.metrics,
                 "case_describe": self.options.management}
        for name, case in vars(Acceptance).items():
            if not name.startswith("case_") or not needs.get(name, True):
                continue
            begin = time.perf_counter()
            try:
                note = case(self)
                passed += 1
                print(f"ok    {case.__doc__} ({note or f'{(time.perf_counter() - begin) * 1000:.0f} ms'})", flush=True)
            except (AssertionError, OSError, http.client.HTTPException, UnicodeDecodeError) as error:
                failed += 1
                print(f"FAIL  {case.__doc__}: {error or type(error).__name__}", flush=True)
        return passed, failed


def parse_options(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inference", help="base URL of the inference API")
    parser.add_argument("model", nargs="?", default="news_classification", help="default: %(default)s")
    parser.add_argument("--management", metavar="URL", help="base URL of the management API; without it no describe")
    parser.add_argument("--metrics", metavar="URL", help="base URL of the metrics API; without it no metrics")
    parser.add_argument("--expect-version", metavar="VERSION", help="the version that describe must give")
    parser.add_argument("--latency-budget-ms", type=float, default=250, metavar="MS", help="default: %(default)s")
    parser.add_argument("--timeout-s", type=float, default=10, metavar="S", help="for each call; default: %(default)s")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="sent with each call")
    parser.add_argument("--cases", type=pathlib.Path, default=pathlib.Path(__file__).with_name("cases.json"),
                        metavar="FILE", help="sentences and the class that must come first; default: cases.json")
    parser.add_argument("--labelled", type=pathlib.Path, metavar="FILE",
                        help="CSV of class,text that the model must know, without header; without it no such case")
    parser.add_argument("--min-accuracy", type=float, default=0.8, metavar="SHARE",
                        help="of --labelled; default: %(default)s")
    options = parser.parse_args(arguments)
    if any(":" not in header for header in options.header):
        parser.error("--header takes 'NAME: VALUE'")
    return options


def main():
    passed, failed = Acceptance(parse_options(sys.argv[1:])).run()
    print(f"acceptance: {passed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
