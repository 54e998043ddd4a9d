"""A real server of a test."""

import pathlib
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request


class Server:
    """`flambeau serve WORD…` on free ports of this machine, in `folder`; ready when `with` begins, gone after it."""

    def __init__(self, program, folder, words, scheme="http", environment=None):
        self.scheme, self.ports, self.log = scheme, pathlib.Path(folder, "ports"), pathlib.Path(folder, "log")
        address = f"{scheme}://127.0.0.1:0"
        command = [program, "serve", *words, "--inference-address", address, "--management-address", address,
                   "--metrics-address", address, "--port-file", self.ports]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def __enter__(self):
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def wait(self):
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            if self.ports.is_file() and "metrics=" in self.ports.read_text():
                self.port = dict(line.split("=") for line in self.ports.read_text().split())
                try:
                    self.ask("inference", "/v2/health/ready")
                    return
                except urllib.error.HTTPError:  # 503 while it loads
                    pass
            time.sleep(0.05)
        raise SystemExit(f"the server did not get ready:\n{self.log.read_text()[-3000:]}")

    def ask(self, listener, path, body=None):
        url = f"{self.scheme}://127.0.0.1:{self.port[listener]}{path}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        trust = ssl._create_unverified_context() if self.scheme == "https" else None
        with urllib.request.urlopen(request, timeout=60, context=trust) as answer:
            return answer.read().decode()
