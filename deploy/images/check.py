#!/usr/bin/env python3
"""Starts the server of an image, or of a build, and checks it: one line each. Exit code 0: every check passed.

  unshare --net --mount check.py --work FOLDER --root ROOT --image IMAGE_JSON [--models FOLDER] [--labels FILE]
  unshare --net --mount check.py --work FOLDER --program build/release/bin/flambeau --models FOLDER

With --program only the time to the first prediction is taken, to compare with the image's.
"""

import argparse
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from container import Container, loopback_up

HERE = pathlib.Path(__file__).resolve().parent
ACCEPTANCE = HERE.parents[1] / "tests" / "acceptance" / "acceptance.py"
MODEL, TEXT, PORT = "news_classification", "Shares fell after the company reported lower profit", 9191
TOOLS = ("cc", "c++", "gcc*", "g++*", "clang*", "ld", "ld.bfd", "ld.gold", "ld.lld", "mold", "as", "make", "cmake",
         "ninja", "python*", "pip*")


def predict(timeout=5):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=timeout)
    try:
        connection.request("POST", f"/predictions/{MODEL}", TEXT, {"Content-Type": "text/plain"})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


class Checks:
    def __init__(self, options):
        self.options = options
        self.failed = 0
        self.container = None
        if options.root:
            models = [(options.models, "/models")] if options.models else []
            self.container = Container(options.root, options.image, read_only=models)
        self.out = options.work / "server.out"
        self.err = options.work / "server.err"

    def report(self, good, text, note=""):
        self.failed += not good
        print(f"{'ok   ' if good else 'FAIL '} {self.options.what + ': ' + text:<58} {note}".rstrip(), flush=True)

    def start(self):
        """Starts the server; seconds until the first prediction, or None."""
        environment = {"PORT": str(PORT)}
        if self.container:
            command = self.container.command(self.container.entry, environment)
        else:
            command = [str(self.options.program), "serve"]
            environment |= {"FLAMBEAU_CONFIG_FILE": str(HERE / "config.properties"), "HOME": "/tmp",
                            "FLAMBEAU_MODEL_STORE": str(self.options.models), "PATH": os.environ["PATH"]}
        begin = time.monotonic()
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.server = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                                           env=environment if not self.container else None)
        while time.monotonic() - begin < 60 and self.server.poll() is None:
            if predict() == 200:
                return time.monotonic() - begin
            time.sleep(0.002)
        return None

    def pid(self):
        """Of the server itself, seen from here: in its own namespace it is 1."""
        if not self.container:
            return self.server.pid
        return int(pathlib.Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()[0])

    def stop(self):
        begin = time.monotonic()
        os.kill(self.pid(), signal.SIGTERM)
        try:
            code = self.server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.server.kill()
            code = None
        self.report(code == 0, "SIGTERM ends it within 10 s with exit code 0",
                    f"{time.monotonic() - begin:.2f} s" if code is not None else "still running after 10 s")

    def status(self):
        return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{self.pid()}/status").read_text().splitlines()
                    if ":\t" in line)

    def check_rights(self):
        status = self.status()
        uids = status["Uid"].split()
        self.report("0" not in uids, "runs without root", f"uid {uids[0]}")
        self.report(status["NSpid"].split()[-1] == "1", "is process 1 of its container")
        self.report(int(status["CapEff"], 16) == 0 and status["NoNewPrivs"].strip() == "1",
                    "has no rights, and can get none")
        written = self.container.run(["sh", "-c", "for f in / /etc /usr /models /usr/local/bin /var/tmp /tmp; do "
                                      "if (: >$f/probe) 2>/dev/null; then echo $f; fi; done"])
        self.report(written.stdout.split() == ["/tmp"], "can write to /tmp only", " ".join(written.stdout.split()))

    def check_contents(self):
        root = self.container.root
        found = [path for tool in TOOLS for folder in ("bin", "usr/bin", "usr/local/bin", "usr/sbin", "usr/lib/gcc/*/*")
                 for path in root.glob(f"{folder}/{tool}")] + list(root.glob("usr/lib/python*"))
        self.report(not found, "no compiler, no Python", " ".join(map(str, found)))
        privileged = [str(path) for folder in ("usr/bin", "usr/sbin", "usr/lib", "usr/local")
                      for path in (root / folder).rglob("*")
                      if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o6000]
        self.report(not privileged, "no program that changes the user", " ".join(privileged))
        licences = root / "usr/local/share/doc/flambeau"
        missing = [str(folder.relative_to(root)) for folder in (licences, licences / "libtorch")
                   if not list(folder.rglob("LICENSE*"))]
        self.report(not missing, "has the licences of libtorch and its own", " ".join(missing))
        config = self.container.config
        self.report(config.get("StopSignal") == "SIGTERM" and bool(config.get("Healthcheck")),
                    "says its stop signal and health check")
        if self.options.labels:
            missing = [line for line in self.options.labels.read_text().splitlines()
                       if config.get("Labels", {}).get(line.split("=", 1)[0]) != line.split("=", 1)[1]]
            self.report(not missing, "its labels tell where the model comes from", " ".join(missing))

    def check_health(self):
        test = self.container.config["Healthcheck"]["Test"][1:]
        for port, wanted in ((PORT, 0), (PORT + 1, 1)):
            asked = self.container.run(test, environment={"PORT": str(port)})
            self.report(asked.returncode == wanted,
                        f"health check: {'healthy' if wanted == 0 else 'nobody on another port'}",
                        f"exit code {asked.returncode}")

    def check_acceptance(self):
        ran = subprocess.run([sys.executable, "-B", ACCEPTANCE, f"http://127.0.0.1:{PORT}", MODEL, "--metrics",
                              "http://127.0.0.1:8082", "--management", "http://127.0.0.1:8081"],
                             capture_output=True, text=True)
        lines = ran.stdout.splitlines() or [ran.stderr]
        for line in lines[:-1]:
            if not line.startswith("ok"):
                print("      " + line)
        self.report(ran.returncode == 0, "tests/acceptance", lines[-1].removeprefix("acceptance: "))

    def check_logs(self):
        lines = [line for file in (self.out, self.err) for line in file.read_text().splitlines()]
        strange = []
        for line in lines:
            try:
                strange += [] if isinstance(json.loads(line), dict) else [line]
            except ValueError:
                strange.append(line)
        self.report(not strange and bool(lines), "every line of output is a JSON object",
                    strange[0] if strange else f"{len(lines)} lines")
        # A request that was refused is a warning, too, and some of ours were to be.
        messages = [json.loads(line) for line in lines] if not strange else []
        loud = [message["message"] for message in messages
                if message.get("severity") in ("WARNING", "ERROR") and "httpRequest" not in message]
        self.report(not loud, "starts and ends without a warning", " ".join(loud))

    def run(self):
        seconds = self.start()
        self.report(seconds is not None, "time to the first prediction",
                    f"{seconds * 1000:.0f} ms" if seconds else "none in 60 s")
        if seconds is None:
            print(self.err.read_text()[-4000:])
            self.server.kill()
        elif self.container:
            for check in (self.check_rights, self.check_health, self.check_acceptance, self.stop, self.check_logs,
                          self.check_contents):
                check()
        else:
            self.stop()
        return self.failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the server's output")
    parser.add_argument("--what", default="image", help="begins each line")
    parser.add_argument("--root", help="root file system of the image")
    parser.add_argument("--image", help="what buildah inspect --type image prints")
    parser.add_argument("--program", type=pathlib.Path, help="flambeau, instead of an image")
    parser.add_argument("--models", type=pathlib.Path, help="the model store")
    parser.add_argument("--labels", type=pathlib.Path, help="KEY=VALUE lines that the image must have as labels")
    options = parser.parse_args()
    for name in ("work", "program", "models"):
        if getattr(options, name):
            setattr(options, name, getattr(options, name).resolve())
    loopback_up()
    sys.exit(bool(Checks(options).run()))


if __name__ == "__main__":
    main()
