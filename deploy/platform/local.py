"""Services as processes of this machine: revisions are programs from image folders, nginx divides the requests.

FLAMBEAU_LOCAL_CLOUD   folder that holds everything: images/NAME-VERSION/, services/NAME/
FLAMBEAU_IMAGE_TREE    folder with the serving image's files, as `deploy/images/tree` makes it
FLAMBEAU_START_TIMEOUT seconds that a revision may take until it is ready (default 60)
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from base import Platform, PlatformError, new_shares, put_model

STOP_SECONDS = 10  # between SIGTERM and SIGKILL, as Cloud Run has it

# One worker process and a connection for each request: a client whose requests follow each other on one connection
# would stay with the worker, and so with the shares, of an earlier configuration.
NGINX = """
daemon on; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; default_type application/octet-stream; keepalive_timeout 0; client_max_body_size 32m;
  client_body_temp_path {folder}/nginx_body; proxy_temp_path {folder}/nginx_proxy;
  fastcgi_temp_path {folder}/nginx_f; uwsgi_temp_path {folder}/nginx_u; scgi_temp_path {folder}/nginx_s;
  log_format stats '$msec $revision $status $upstream_response_time';
{upstreams}
  split_clients $request_id $revision {{
{split}
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      access_log {folder}/access.log stats;
      proxy_pass http://$revision; proxy_http_version 1.1; proxy_set_header Host $host; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $remote_addr; proxy_next_upstream off; proxy_read_timeout 300s;
    }}
  }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_alive(pid):
    """Whether the process runs; one that ended and was not waited for does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds, what):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise PlatformError(f"{what} after {seconds} s")
        time.sleep(0.05)


def percentile(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


class Local(Platform):
    def __init__(self, environment):
        folder = environment.get("FLAMBEAU_LOCAL_CLOUD")
        if not folder:
            raise PlatformError("set FLAMBEAU_LOCAL_CLOUD to a folder for images and services")
        self.folder = pathlib.Path(folder).resolve()
        self.tree = environment.get("FLAMBEAU_IMAGE_TREE")
        self.start_timeout = float(environment.get("FLAMBEAU_START_TIMEOUT", "60"))

    # --- images ---

    def image_folder(self, image):
        return self.folder / "images" / image

    def training_image(self):
        return {"tools": ""}

    def has_image(self, image):
        return self.image_folder(image).is_dir()

    def build(self, image, source, labels):
        if not self.tree:
            raise PlatformError("set FLAMBEAU_IMAGE_TREE to a folder that deploy/images/tree made")
        folder, new = self.image_folder(image), self.image_folder(image + ".new")
        shutil.rmtree(new, ignore_errors=True)
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.tree, new, symlinks=True, copy_function=os.link)  # the layers that images share
        put_model(new, image, source, labels)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
        return {"image": image, "folder": str(folder)}

    # --- services ---

    def service_folder(self, service):
        return self.folder / "services" / service

    def load(self, service):
        try:
            return json.loads((self.service_folder(service) / "service.json").read_text())
        except FileNotFoundError:
            raise PlatformError(f"there is no service {service!r}") from None

    def save(self, state):
        file = self.service_folder(state["service"]) / "service.json"
        new = file.with_suffix(".new")
        new.write_text(json.dumps(state, indent=1))
        new.rename(file)

    def deploy(self, service, image, tag, traffic, labels):
        if not self.has_image(image):
            raise PlatformError(f"there is no image {image}")
        folder = self.service_folder(service)
        if folder.exists():
            state = self.load(service)
        else:
            folder.mkdir(parents=True)
            state = {"service": service, "port": free_port(), "labels": {}, "created": time.time(), "made": 0,
                     "revisions": []}
        state["labels"].update(labels)
        state["made"] += 1
        first = not any(revision["percent"] for revision in state["revisions"])
        revision = {"revision": f"{service}-{state['made']:05d}", "image": image, "tag": tag, "percent": 0}
        try:
            self.start(state, revision)
        except PlatformError:
            if not state["revisions"]:
                shutil.rmtree(folder)
            raise
        for other in state["revisions"]:
            if tag and other["tag"] == tag:
                other["tag"] = ""
        state["revisions"].append(revision)
        self.save(state)
        if traffic or first:
            self.traffic(service, {revision["revision"]: 100})
        else:
            self.stop_unused(state)
        return {"revision": revision["revision"], "url": self.url(state), "tag_url": self.revision_url(revision)}

    @staticmethod
    def url(state):
        return f"http://127.0.0.1:{state['port']}"

    @staticmethod
    def revision_url(revision):
        return f"http://127.0.0.1:{revision['port']}"

    def start(self, state, revision):
        """Starts the program of the image as the container would be, and waits for the start-up probe."""
        image, folder = self.image_folder(revision["image"]), self.service_folder(state["service"])
        log = folder / f"{revision['revision']}.log"
        revision["port"] = free_port()
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PORT": str(revision["port"]),
            "K_SERVICE": state["service"], "K_REVISION": revision["revision"], "K_CONFIGURATION": state["service"],
            "FLAMBEAU_CONFIG_FILE": str(image / "etc/flambeau/config.properties"),
            "FLAMBEAU_TUNING_FOLDER": str(folder / "tuning"),
            "FLAMBEAU_MANAGEMENT_ADDRESS": "http://127.0.0.1:0", "FLAMBEAU_METRICS_ADDRESS": "http://127.0.0.1:0",
            "FLAMBEAU_MODEL_STORE": str(image / "models"),
            "FLAMBEAU_EXIT_ON_LOAD_FAILURE": "true",  # as the image has it
            "FLAMBEAU_PORT_FILE": str(folder / f"{revision['revision']}.ports"),
        }
        # The shell stays to write down the exit code; it passes a SIGTERM of its group on by doing nothing with it.
        script = 'trap : TERM; "$@"; code=$?; echo $code >"$EXIT_FILE"'
        exit_file = folder / f"{revision['revision']}.exit"
        exit_file.unlink(missing_ok=True)
        with open(log, "ab") as output:
            process = subprocess.Popen(
                ["bash", "-c", script, "revision", image / "usr/local/bin/flambeau", "serve"],
                env={**environment, "EXIT_FILE": str(exit_file)}, cwd=folder, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True)
        revision["pid"] = process.pid
        problem = self.wait_until_ready(revision, process)
        if problem:
            self.stop(state, revision)
            raise PlatformError(f"{revision['image']} {problem}. It wrote last:\n" + "\n".join(self.tail(log, 8)))

    def wait_until_ready(self, revision, process):
        until, answer = time.monotonic() + self.start_timeout, "no answer"
        while time.monotonic() < until:
            if process.poll() is not None:
                return f"ended with exit code {process.returncode} before it was ready"
            try:
                with urllib.request.urlopen(self.revision_url(revision) + "/v2/health/ready", timeout=1):
                    return ""
            except urllib.error.HTTPError as error:
                answer = f"{error.code} {error.read(500).decode(errors='replace').strip()}"
            except OSError as error:
                answer = str(error)
            time.sleep(0.05)
        return f"was not ready within {self.start_timeout:g} s (last: {answer})"

    def stop(self, state, revision):
        """SIGTERM, ten seconds, SIGKILL. The exit code is in REVISION.exit."""
        pid = revision.pop("pid", None)
        if not pid or not is_alive(pid):
            return
        os.killpg(pid, signal.SIGTERM)
        try:
            wait_for(lambda: not is_alive(pid), STOP_SECONDS, f"{revision['revision']} still runs")
        except PlatformError:
            os.killpg(pid, signal.SIGKILL)
            exit_file = self.service_folder(state["service"]) / f"{revision['revision']}.exit"
            exit_file.write_text("137\n")

    def stop_unused(self, state):
        """What has neither requests nor a tag is scaled to zero."""
        for revision in state["revisions"]:
            if not revision["percent"] and not revision["tag"]:
                self.stop(state, revision)
        self.save(state)

    def traffic(self, service, shares):
        state = self.load(service)
        wanted = new_shares(state["revisions"], shares)
        for revision in state["revisions"]:
            revision["percent"] = wanted.get(revision["revision"], 0)
            if revision["percent"] and not is_alive(revision.get("pid", 0)):
                self.start(state, revision)  # it was scaled to zero
        self.save(state)
        self.configure_front(state)
        self.stop_unused(state)
        return self.describe(service)

    def configure_front(self, state):
        folder = self.service_folder(state["service"])
        serving = [revision for revision in state["revisions"] if revision["percent"]]
        upstreams = "\n".join(f"  upstream {r['revision']} {{ server 127.0.0.1:{r['port']}; keepalive 16; }}"
                              for r in serving)
        split = "\n".join([f"    {r['percent']}% {r['revision']};" for r in serving[:-1]] +
                          [f"    * {serving[-1]['revision']};"])
        (folder / "nginx.conf").write_text(
            NGINX.format(folder=folder, port=state["port"], upstreams=upstreams, split=split))
        master = self.front(state)
        if not master:
            self.nginx(folder)
            return
        before = self.children(master)
        self.nginx(folder, "-s", "reload")
        # Requests that the earlier configuration accepted are over when its worker has ended.
        wait_for(lambda: not before & self.children(master) and self.children(master), 60,
                 "nginx still works with the earlier shares")

    @staticmethod
    def nginx(folder, *arguments):
        if not shutil.which("nginx"):
            raise PlatformError("nginx is not installed; it divides the requests between revisions")
        words = ["nginx", "-p", folder, "-e", folder / "nginx.log", "-c", folder / "nginx.conf", *arguments]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise PlatformError(f"nginx: {done.stderr.strip()}")

    def front(self, state):
        """Process of nginx, or 0."""
        try:
            pid = int((self.service_folder(state["service"]) / "nginx.pid").read_text())
        except (OSError, ValueError):
            return 0
        return pid if is_alive(pid) else 0

    @staticmethod
    def children(pid):
        return set(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def describe(self, service):
        state = self.load(service)
        return {"service": service, "url": self.url(state), "labels": state["labels"],
                "revisions": [{"revision": r["revision"], "image": r["image"], "tag": r["tag"],
                               "percent": r["percent"], "url": self.revision_url(r)} for r in state["revisions"]]}

    def remove_tag(self, service, tag):
        state = self.load(service)
        for revision in state["revisions"]:
            if revision["tag"] == tag:
                revision["tag"] = ""
        self.stop_unused(state)
        return self.describe(service)

    def stats(self, service, seconds):
        since, seen = time.time() - seconds, {}
        try:
            lines = (self.service_folder(service) / "access.log").read_text().splitlines()
        except FileNotFoundError:
            lines = []
        for line in lines:
            when, revision, status, duration = line.split(" ", 3)
            if float(when) >= since:
                errors, times = seen.setdefault(revision, ([], []))
                if int(status) >= 500:
                    errors.append(status)
                times.append(float(duration) * 1000 if duration != "-" else 0.0)
        result = {}
        for revision, (errors, times) in seen.items():
            times.sort()
            result[revision] = {"requests": len(times), "errors": len(errors),
                                "p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99)}
        return result

    @staticmethod
    def tail(file, lines):
        try:
            return file.read_text(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    def logs(self, service, revision, lines):
        return self.tail(self.service_folder(service) / f"{revision}.log", lines)

    def delete(self, service):
        folder = self.service_folder(service)
        if not folder.exists():
            return
        state = self.load(service)
        master = self.front(state)
        if master:
            self.nginx(folder, "-s", "quit")
            wait_for(lambda: not is_alive(master), 60, "nginx still runs")
        for revision in state["revisions"]:
            self.stop(state, revision)
        shutil.rmtree(folder)

    def list(self, labels):
        states = [json.loads(file.read_text()) for file in sorted(self.folder.glob("services/*/service.json"))]
        return [{"service": state["service"], "labels": state["labels"], "created": state["created"]}
                for state in states if all(state["labels"].get(name) == value for name, value in labels.items())]

    def headers(self, url):
        return []
