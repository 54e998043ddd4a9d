"""The role `flambeau` on this machine, below a scratch folder: a second run changes nothing, `--check` writes nothing,
a release that does not get ready goes back, an archive with another digest is refused.

The release is a script that notes what was started; an HTTP server in this process answers as that version would.
"""

import hashlib
import http.server
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import threading

# `serve` notes its version where the server below looks.
PROGRAM = """#!/bin/sh
case "$*" in
  *--check-config*) exit ;;
esac
echo "$VERSION" > "$STARTED"
"""


class Release:
    def __init__(self, folder, version):
        self.version, self.archive = version, folder / f"flambeau-{version}.tar.gz"
        text = PROGRAM.replace("$VERSION", version).replace("$STARTED", str(folder / "started")).encode()
        with tarfile.open(self.archive, "w:gz") as archive:
            entry = tarfile.TarInfo("./usr/local/bin/flambeau")
            entry.size, entry.mode = len(text), 0o755
            archive.addfile(entry, io.BytesIO(text))
        self.digest = hashlib.sha256(self.archive.read_bytes()).hexdigest()


class Machine:
    """A scratch folder, and who answers for what was started in it."""

    def __init__(self, root, playbook, folder):
        self.root, self.playbook, self.folder = root, playbook, pathlib.Path(folder)
        started = self.folder / "started"

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(503 if "broken" in started.read_text() else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def play(self, release, *words, **more):
        """(whether it succeeded, what was changed, all of the output)"""
        place = str(self.folder / "machine")
        variables = {
            "ansible_python_interpreter": sys.executable,
            "flambeau_version": release.version, "flambeau_archive": str(release.archive),
            "flambeau_archive_sha256": release.digest, "flambeau_root": f"{place}/opt",
            "flambeau_config_folder": f"{place}/etc", "flambeau_state_folder": f"{place}/state",
            "flambeau_manage_user": False,
            "flambeau_user": str(os.getuid()), "flambeau_service_manager": "none", "flambeau_health_seconds": 2,
            "flambeau_restart_command": [f"{place}/opt/current/usr/local/bin/flambeau", "serve"],
            "flambeau_settings": {"inference_address": f"http://127.0.0.1:{self.server.server_port}"}, **more}
        environment = {**os.environ, "ANSIBLE_HOME": str(self.folder / "home"), "ANSIBLE_NOCOLOR": "1",
                       "ANSIBLE_PIPELINING": "1", "ANSIBLE_CONFIG": str(self.root / "deploy/ansible/ansible.cfg"),
                       "ANSIBLE_LOCALHOST_WARNING": "false",
                       "ANSIBLE_ROLES_PATH": str(self.root / "deploy/ansible/roles")}
        (self.folder / "variables.json").write_text(json.dumps(variables))
        done = subprocess.run([self.playbook, "-i", "localhost,", "-e", f"@{self.folder}/variables.json", *words,
                               str(self.root / "tests/deploy/ansible/localhost.yml")],
                              env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        recap = re.search(r"changed=(\d+)", done.stdout.rpartition("PLAY RECAP")[2])
        return done.returncode == 0, int(recap[1]) if recap else -1, done.stdout

    def serves(self):
        started = self.folder / "started"
        link = self.folder / "machine/opt/current"
        return (started.read_text().strip() if started.exists() else "",
                os.path.basename(os.readlink(link)) if link.is_symlink() else "")


def check(root, tool):
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(root, tool("ansible-playbook"), folder)
        good, broken = Release(machine.folder, "1.0"), Release(machine.folder, "2.0-broken")

        def expect(what, fits, output):
            if not fits:
                problems.append(f"{what}:\n{output}")

        done, changed, output = machine.play(good, "--check")
        expect("--check of a new machine", done and changed and not (machine.folder / "machine").exists(), output)
        done, changed, output = machine.play(good)
        expect("the first run", done and changed and machine.serves() == ("1.0", "1.0"), output)
        done, changed, output = machine.play(good)
        expect("a second run changes nothing", done and changed == 0, output)
        done, changed, output = machine.play(broken)
        expect("a release that does not get ready goes back", not done and machine.serves() == ("1.0", "1.0")
               and "Back to 1.0" in output, output)
        good.version, good.digest = "3.0", "0" * 64
        done, changed, output = machine.play(good)
        expect("another digest is refused", not done and not (machine.folder / "machine/opt/releases/3.0").exists(),
               output)
        machine.server.shutdown()
    return problems
