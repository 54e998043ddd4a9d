#!/usr/bin/env python3
"""The acceptance run must pass a good server and name what is wrong with a bad one. The servers here are made up."""

import http.server
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = pathlib.Path(__file__).parent
CASES = json.loads((HERE / "cases.json").read_text(encoding="utf-8"))["predictions"]
LABELS = ["World", "Sports", "Business", "Sci/Tech"]


class FakeServer(http.server.ThreadingHTTPServer):
    """Answers as Flambeau does; `fault` names the one thing that it does wrong."""

    def __init__(self, fault):
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault = fault
        self.counted = 0
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one write: two would wait for each other (Nagle and delayed ACK)

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status):
        error = {"code": status, "type": "SomeException", "message": "what is wrong and what to do"}
        if self.server.fault == "no message":
            del error["message"]
        self.answer(status, error)

    def do_GET(self):
        fault = self.server.fault
        if self.path == "/ping":
            self.answer(*((500, {"status": "Unhealthy"}) if fault == "unhealthy" else (200, {"status": "Healthy"})))
        elif self.path == "/metrics":
            name = "another_model" if fault == "no counter" else "news_classification"
            self.answer(200, f'# TYPE ts_inference_requests_total counter\n'
                             f'ts_inference_requests_total{{model_name="{name}",model_version="1.0"}} '
                             f'{0 if fault == "stuck counter" else self.server.counted}\n')
        elif self.path == "/models/news_classification":
            workers = [] if fault == "no worker" else [{"id": "0", "status": "READY"}]
            self.answer(200, [{"modelName": "news_classification", "modelVersion": "1.0", "workers": workers}])
        else:
            self.refuse(404)

    def do_POST(self):
        fault = self.server.fault
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path not in ("/predictions/news_classification", "/predictions/news_classification/1.0"):
            return self.answer(200, {}) if fault == "any model" else self.refuse(404)
        if not text and fault != "empty accepted":
            return self.refuse(400)
        self.server.counted += 1
        if fault == "slow":
            time.sleep(0.03)  # above the budget that the test of this fault sets
        first = next((case["first"] for case in CASES if case["text"] == text), LABELS[0])
        rest = [label for label in LABELS if label != first]
        if fault == "wrong class":
            first, rest = rest[0], [first, *rest[1:]]
        if fault == "not json":
            return self.answer(200, "World")
        answer = {first: 0.7, **{label: 0.1 for label in rest}}
        if fault == "sum":
            answer[first] = 0.6
        if fault == "order":
            answer = dict(reversed(answer.items()))
        return self.answer(200, answer)


class AcceptanceTest(unittest.TestCase):
    def run_against(self, fault, *options, apis=("--management", "--metrics")):
        server = FakeServer(fault)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        urls = [word for api in apis for word in (api, server.url)]
        result = subprocess.run([sys.executable, HERE / "acceptance.py", server.url, "news_classification", *urls,
                                 *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return result.returncode, result.stdout

    def assert_failures(self, fault, *titles, options=()):
        """Exactly the cases whose titles begin so fail."""
        code, output = self.run_against(fault, *options)
        failed = [line for line in output.splitlines() if line.startswith("FAIL")]
        self.assertEqual(code, 1, output)
        self.assertEqual(len(failed), len(titles), output)
        for line, title in zip(failed, titles):
            self.assertTrue(line.startswith("FAIL  " + title), output)
        self.assertIn(f"acceptance: {7 - len(titles)} passed, {len(titles)} failed", output)

    def test_a_good_server_passes(self):
        code, output = self.run_against(None, "--expect-version", "1.0")
        self.assertEqual(code, 0, output)
        self.assertIn("acceptance: 7 passed, 0 failed", output)

    def test_without_the_other_urls_their_cases_are_left_out(self):
        code, output = self.run_against(None, apis=())
        self.assertEqual(code, 0, output)
        self.assertIn("acceptance: 5 passed, 0 failed", output)

    def test_an_unhealthy_server_fails(self):
        self.assert_failures("unhealthy", "ping")

    def test_wrong_answers_fail(self):
        for fault in ("wrong class", "sum", "order"):
            self.assert_failures(fault, "clear sentences")

    def test_labelled_sentences_are_asked_when_they_are_given(self):
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
            file.write('World,"one, two"\nWorld,three\nSports,four\n')
            file.flush()
            code, output = self.run_against(None, "--labelled", file.name, "--min-accuracy", "0.6")
            self.assertEqual(code, 0, output)
            self.assertIn("0.67 of 3 are right", output)
            code, output = self.run_against(None, "--labelled", file.name, "--min-accuracy", "0.7")
            self.assertEqual(code, 1, output)
            self.assertIn("FAIL  labelled sentences", output)
            self.assertIn("four", output)

    def test_an_answer_that_is_no_json_fails(self):
        self.assert_failures("not json", "clear sentences", "the median", "the metrics")

    def test_accepted_bad_input_fails(self):
        self.assert_failures("empty accepted", "an empty body")
        self.assert_failures("any model", "an unknown model")

    def test_an_error_without_a_message_fails(self):
        self.assert_failures("no message", "an empty body", "an unknown model")

    def test_a_slow_server_fails(self):
        self.assert_failures("slow", "the median", options=("--latency-budget-ms", "20"))

    def test_a_counter_that_is_missing_or_does_not_count_fails(self):
        self.assert_failures("no counter", "the metrics")
        self.assert_failures("stuck counter", "the metrics")

    def test_another_version_or_no_worker_fails(self):
        self.assert_failures(None, "describe", options=("--expect-version", "2.0"))
        self.assert_failures("no worker", "describe")

    def test_nobody_listening_fails_every_case_and_names_the_reason(self):
        server = FakeServer(None)
        server.shutdown()
        server.server_close()
        result = subprocess.run([sys.executable, HERE / "acceptance.py", server.url], stdout=subprocess.PIPE, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn("Connection refused", result.stdout)
        self.assertIn("acceptance: 0 passed, 5 failed", result.stdout)


if __name__ == "__main__":
    unittest.main()
