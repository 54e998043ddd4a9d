#!/usr/bin/env python3
"""Sends the requests of cases.json to Flambeau, and to TorchServe if there is one, and says where an answer differs.

A case has what the contract of both says. Where Flambeau differs on purpose the case also says what TorchServe
answers (`theirs`) and which row of docs/migrating-from-torchserve.md tells of it (`row`). A difference that is not
marked so is a failure, and so is a mark that names no row.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs/migrating-from-torchserve.md"
LISTENERS = ("inference", "management", "metrics")
PATIENCE_S = 120


def free_ports(count):
    """Ports that the kernel gave away just now; TorchServe cannot be asked to take any free one."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_until(what, condition, process):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"compare: {what} did not happen")
        time.sleep(0.05)


class Server:
    """A server that is started and stopped with TorchServe's own command line."""

    def __init__(self, programs, settings, models, theirs):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="flambeau-compat-"))
        self.store = self.folder / "store"
        self.store.mkdir()
        self.programs, self.theirs = programs, theirs
        for name, (file, version) in models.items():
            self.pack(name, file, version)
        self.pack_workflow()
        port_file = self.folder / "ports"
        ports = free_ports(5) if theirs else [0, 0, 0]
        self.ports = dict(zip(LISTENERS, ports))
        lines = {f"{name}_address": f"http://127.0.0.1:{port}" for name, port in self.ports.items()}
        if theirs:
            lines |= {"grpc_inference_port": ports[3], "grpc_management_port": ports[4]}
        else:
            lines["port_file"] = port_file
        lines |= {"default_workers_per_model": 1, "metrics_mode": "prometheus", **settings}
        config = self.folder / "config.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        log = self.folder / "log.txt"
        self.environment = {key: value for key, value in os.environ.items()
                            if not key.startswith(("TS_", "FLAMBEAU_")) and key not in ("PORT", "LOG_LOCATION")}
        self.environment |= {name: str(self.folder) for name in ("TMPDIR", "TEMP", "TMP")}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*programs["torchserve"], "--start", "--foreground", "--ncs", "--ts-config", config,
                 "--model-store", self.store], cwd=self.folder, env=self.environment, stdout=out,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.log = log
        wait_until(f"the start of {programs['torchserve'][0]} (see {log})",
                   lambda: "Model server started." in log.read_text(errors="replace"), self.process)
        if not theirs:
            self.ports = {name: int(port) for name, port in
                          (line.split("=") for line in port_file.read_text().splitlines())}
        self.keys = {}
        if str(settings.get("disable_token_authorization", "true")) == "false":
            made = json.loads((self.folder / "key_file.json").read_text())
            self.keys = {kind: made[kind]["key"] for kind in made}
        for name in filter(None, str(settings.get("load_models", "")).split(",")):
            self.wait_for_worker(name.split(".")[0])

    def pack(self, name, file, version):
        handler = HERE / "compat_handler.py" if self.theirs else "base_handler"
        subprocess.run([*self.programs["torch-model-archiver"], "--model-name", name, "--version", version,
                        "--serialized-file", file, "--handler", handler, "--export-path", self.store],
                       check=True, stdout=subprocess.DEVNULL)

    def pack_workflow(self):
        """chain.war: double, then triple. Its handler has nothing to do, but TorchServe wants one."""
        manifest = {"workflow": {"workflowName": "chain", "specFile": "chain.yaml", "handler": "functions.py"},
                    "createdOn": "01/01/2026 00:00:00", "archiverVersion": "0.2.15"}
        with zipfile.ZipFile(self.store / "chain.war", "w") as archive:
            archive.writestr("WAR-INF/MANIFEST.json", json.dumps(manifest))
            archive.writestr("functions.py", "")
            archive.writestr("chain.yaml", "models:\n  double:\n    url: double.mar\n  triple:\n    url: triple.mar\n"
                                           "dag:\n  double: [triple]\n")

    def wait_for_worker(self, name):
        def ready():
            status, _, body = self.call("management", "GET", f"/models/{name}", self.authorization("management"))
            return status == 200 and all(one["status"] == "READY" for one in json.loads(body)[0]["workers"])
        wait_until(f"a worker of {name}", ready, self.process)

    def authorization(self, kind):
        """The header with a key of this kind; any other text is sent as it is."""
        if not kind or (kind in ("inference", "management", "API") and not self.keys):
            return {}
        return {"Authorization": f"Bearer {self.keys[kind]}" if kind in self.keys else kind}

    def call(self, listener, method, target, headers=None, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[listener], timeout=60)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def stop(self):
        subprocess.run([*self.programs["torchserve"], "--stop", "--foreground"], cwd=self.folder,
                       env=self.environment, stdout=subprocess.DEVNULL, check=True)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def matches(want, got, place="body"):
    """What is wrong with `got`, or None. A text that begins with `re:` is a regular expression; an object may have
    more keys than are asked for; `any` fits everything."""
    if want == "any":
        return None
    if isinstance(want, dict):
        if not isinstance(got, dict):
            return f"{place} is {json.dumps(got)[:120]}, no object"
        for key, value in want.items():
            if key not in got:
                return f"{place} has no {key}"
            wrong = matches(value, got[key], f"{place}.{key}")
            if wrong:
                return wrong
        return None
    if isinstance(want, list):
        if not isinstance(got, list) or len(want) != len(got):
            return f"{place} is {json.dumps(got)[:120]}, expected {json.dumps(want)[:120]}"
        return next(filter(None, (matches(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(want, got)))), None)
    if isinstance(want, str) and want.startswith("re:"):
        return None if re.search(want[3:], str(got)) else f"{place} is {str(got)[:160]!r}, expected {want[3:]!r}"
    return None if want == got else f"{place} is {json.dumps(got)[:160]}, expected {json.dumps(want)[:160]}"


def check(answer, want):
    """What is wrong with an answer, or None."""
    status, headers, body = answer
    if status != want["status"]:
        return f"status is {status}, expected {want['status']}; body: {body[:160]!r}"
    for name, value in want.get("headers", {}).items():
        if value is None:
            if name in headers:
                return f"header {name} is there: {headers[name]!r}"
            continue
        wrong = matches(value, headers.get(name), f"header {name}")
        if wrong:
            return wrong
    if "text" in want:
        return matches(want["text"], body.decode(errors="replace"))
    if "json" in want:
        try:
            return matches(want["json"], json.loads(body))
        except ValueError:
            return f"the body is no JSON: {body[:160]!r}"
    return None


def error(status, kind, message):
    return {"status": status, "json": {"code": status, "type": kind, "message": message}}


def expectation(case, key):
    """`want` and `theirs` of a case; `error` is short for the usual error body."""
    want = dict(case.get(key) or case["want"])
    if "error" in want:
        want |= error(want["status"], *want.pop("error"))
    return want


def send(server, case):
    method, target = case["call"].split(" ", 1)
    headers = dict(case.get("send", {}))
    body = case.get("body")
    if "json" in case:
        body = json.dumps(case["json"])
        headers.setdefault("Content-Type", "application/json")
    if body is None and method in ("POST", "PUT"):
        body = ""
    headers |= server.authorization(case.get("token"))
    return server.call(case.get("on", "inference"), method, target, headers, None if body is None else body.encode())


def run_group(group, ours, theirs, models, options):
    """Counts of cases, failures and known differences."""
    servers = [Server(ours, group["settings"], models, False)]
    if theirs:
        servers.append(Server(theirs, {**group["settings"], **group.get("settings_theirs", {})}, models, True))
    failed = known = 0
    try:
        for case in group["cases"]:
            wrong = check(send(servers[0], case), expectation(case, "want"))
            if wrong:
                failed += 1
                print(f"FAIL  {case['call']} ({case['name']}): {wrong}", flush=True)
            elif options.verbose:
                print(f"ok    {case['call']} ({case['name']})", flush=True)
            known += "theirs" in case
            if theirs:
                wrong = check(send(servers[1], case), expectation(case, "theirs"))
                if wrong:
                    failed += 1
                    print(f"DIFF  {case['call']} ({case['name']}): TorchServe's {wrong}", flush=True)
                elif "theirs" in case:
                    print(f"known {case['call']} ({case['name']}): {case['row']}", flush=True)
    finally:
        for server in servers:
            server.stop()
    return len(group["cases"]), failed, known


def run_commands(group, programs, options):
    """The launcher's and the archiver's texts and exit codes, of each server's programs; counts as above."""
    failed = 0
    for theirs, found in programs.items():
        for case in group["commands"] if found else ():
            with tempfile.TemporaryDirectory(prefix="flambeau-compat-") as folder:
                environment = {**os.environ, **{name: folder for name in ("TMPDIR", "TEMP", "TMP")}}
                done = subprocess.run([*found[case["run"][0]], *case["run"][1:]], cwd=folder, env=environment,
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
            wrong = None
            if done.returncode != case["code"]:
                wrong = f"exit code is {done.returncode}, expected {case['code']}; {done.stderr[-160:]!r}"
            wrong = wrong or matches(case["text"], done.stdout + done.stderr, "the output")
            failed += bool(wrong)
            if wrong or options.verbose:
                verdict = "ok   " if not wrong else "DIFF " if theirs else "FAIL "
                print(f"{verdict} {' '.join(case['run'])}{': ' + wrong if wrong else ''}", flush=True)
    return len(group["commands"]), failed, 0


def check_rows(groups):
    """Marks that name no row of the migration page."""
    rows = {line.split("|")[1].strip() for line in PAGE.read_text(encoding="utf-8").splitlines()
            if line.startswith("|")}
    cases = [case for group in groups for case in group.get("cases", ())]
    return [f"FAIL  {case['call']}: no row `{case.get('row')}` in {PAGE.name}"
            for case in cases if "theirs" in case and case.get("row") not in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path, required=True, metavar="FOLDER",
                        help="with our torchserve and torch-model-archiver, such as build/release/bin")
    parser.add_argument("--models", type=pathlib.Path, required=True, metavar="FOLDER",
                        help="with double.pt and triple.pt of wire_make_models")
    parser.add_argument("--torchserve", type=pathlib.Path, metavar="FOLDER",
                        help="with the torchserve and torch-model-archiver of TorchServe 0.12, such as VENV/bin")
    parser.add_argument("--group", help="only this group of cases")
    parser.add_argument("--verbose", action="store_true", help="also say what passes")
    options = parser.parse_args()
    groups = json.loads((HERE / "cases.json").read_text(encoding="utf-8"))
    problems = check_rows(groups)
    print(*problems, sep="\n", end="\n" if problems else "")
    programs = {True: None, False: None}
    for theirs, folder in ((False, options.programs), (True, options.torchserve)):
        if folder:
            programs[theirs] = {name: [str(folder.resolve() / name)] for name in ("torchserve", "torch-model-archiver")}
    double, triple = (options.models.resolve() / f"{name}.pt" for name in ("double", "triple"))
    models = {"double": (double, "1.0"), "triple": (triple, "1.0"), "second": (triple, "2.0")}
    cases = failed = known = 0
    for group in groups:
        if options.group in (None, group["group"]):
            if "commands" in group:
                counts = run_commands(group, programs, options)
            else:
                counts = run_group(group, programs[False], programs[True], models, options)
            cases, failed, known = cases + counts[0], failed + counts[1], known + counts[2]
    print(f"compare: {cases} cases, {failed + len(problems)} failed, {known} differ from TorchServe on purpose")
    sys.exit(bool(failed or problems))


if __name__ == "__main__":
    main()
