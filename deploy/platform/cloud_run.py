"""Services of Cloud Run, by `gcloud` and `docker`, figures from Cloud Monitoring.

GCP_PROJECT, GCP_REGION      where
GCP_REGISTRY                 REGION-docker.pkg.dev/PROJECT/REPOSITORY
GCP_RUNTIME_ACCOUNT          service account that a new service runs as
FLAMBEAU_CPU, _MEMORY, _CONCURRENCY, _MAX_INSTANCES   of a new service (2, 2Gi, 32, 4)
FLAMBEAU_ID_TOKEN            sent to private services; without it gcloud is asked
FLAMBEAU_BUILD_FLAGS         for `docker buildx build`, such as --cache-from type=gha
"""

import datetime
import json
import os
import re
import shlex
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from base import ROOT, Platform, PlatformError, new_shares, put_model

# Ready means that the model is loaded and was tried; liveness must not depend on it. 240 s is the most that Cloud Run
# allows.
PROBES = ["--startup-probe=httpGet.path=/v2/health/ready,periodSeconds=1,timeoutSeconds=1,failureThreshold=240",
          "--liveness-probe=httpGet.path=/v2/health/live,periodSeconds=10,timeoutSeconds=3,failureThreshold=3"]
MONITORING = "https://monitoring.googleapis.com/v3/projects/{project}/timeSeries?{query}"


class CloudRun(Platform):
    def __init__(self, environment):
        self.environment = environment
        missing = [name for name in ("GCP_PROJECT", "GCP_REGION", "GCP_REGISTRY") if not environment.get(name)]
        if missing:
            raise PlatformError(f"set {', '.join(missing)} (terraform output github_variables shows them)")
        self.project, self.region = environment["GCP_PROJECT"], environment["GCP_REGION"]
        self.registry = environment["GCP_REGISTRY"]

    def command(self, *words, check=True):
        """Output of a program; its own error text when it fails."""
        if not shutil.which(words[0]):
            raise PlatformError(f"{words[0]} is not installed or not on the PATH")
        done = subprocess.run(words, capture_output=True, text=True)
        if check and done.returncode:
            raise PlatformError(f"`{shlex.join(words[:4])} …` failed:\n{done.stderr.strip()}")
        return done.stdout if done.returncode == 0 else None

    def gcloud(self, *words, check=True):
        return self.command("gcloud", *words, "--project", self.project, "--quiet", check=check)

    def run(self, *words, check=True):
        """JSON that `gcloud run` answers."""
        text = self.gcloud("run", *words, "--region", self.region, "--format", "json", check=check)
        return json.loads(text) if text and text.strip() else None

    def reference(self, image):
        return f"{self.registry}/flambeau:{image}"

    # --- images ---

    def has_image(self, image):
        return self.gcloud("artifacts", "docker", "images", "describe", self.reference(image), check=False) is not None

    def buildx(self, target, *flags):
        self.command("docker", "buildx", "build", "--target", target, *flags,
                     *shlex.split(self.environment.get("FLAMBEAU_BUILD_FLAGS", "")), str(ROOT))

    def training_image(self):
        self.buildx("train", "--tag", "flambeau-train", "--load")
        variables = ["GITHUB_SHA", *sorted(name for name in self.environment if name.startswith("MLFLOW_"))]
        words = ["docker", "run", "--rm", "--network", "host", "--user", f"{os.getuid()}:{os.getgid()}",
                 "--volume", f"{ROOT}:/work", "--workdir", "/work"]
        words += [word for name in variables for word in ("--env", name)]
        return {"tools": shlex.join([*words, "--entrypoint", "env", "flambeau-train"])}

    def build(self, image, source, labels):
        folder = ROOT / "build/image"
        shutil.rmtree(folder, ignore_errors=True)
        put_model(folder.relative_to(ROOT), image, source, labels)
        flags = [word for line in (folder / "labels").read_text().splitlines() for word in ("--label", line)]
        self.buildx("serve-with-model", "--tag", self.reference(image), "--build-context", f"model={folder}", *flags,
                    "--build-arg", f"REVISION={self.environment.get('GITHUB_SHA', '')}",
                    "--build-arg", f"MODEL_NAME={image.rpartition('-')[0]}",
                    "--build-arg", f"MODEL_VERSION={image.rpartition('-')[2]}", "--push")
        return {"image": self.reference(image)}

    # --- services ---

    def deploy(self, service, image, tag, traffic, labels):
        setting = self.environment.get
        is_new = self.run("services", "describe", service, check=False) is None
        flags = ["--image", self.reference(image)]
        if is_new:  # what a revision of a service that is there needs is decided elsewhere (deploy/terraform)
            flags += ["--port", "8080", "--no-allow-unauthenticated", "--execution-environment", "gen2", "--cpu-boost",
                      *PROBES, "--cpu", setting("FLAMBEAU_CPU", "2"), "--memory", setting("FLAMBEAU_MEMORY", "2Gi"),
                      "--concurrency", setting("FLAMBEAU_CONCURRENCY", "32"),
                      "--max-instances", setting("FLAMBEAU_MAX_INSTANCES", "4")]
            if setting("GCP_RUNTIME_ACCOUNT"):
                flags += ["--service-account", setting("GCP_RUNTIME_ACCOUNT")]
        if tag:
            flags += ["--tag", tag]
        if labels:
            flags += ["--labels", ",".join(f"{name}={value}" for name, value in labels.items())]
        if not traffic and not is_new:  # the first revision of a service takes its requests in any case
            flags.append("--no-traffic")
        before = set() if is_new else {r["revision"] for r in self.describe(service)["revisions"]}
        try:
            made = self.run("deploy", service, *flags)["status"]["latestCreatedRevisionName"]
        except PlatformError as error:
            why = self.why(service, before)
            if is_new:  # it would stay as a service that was never ready
                self.delete(service)
            raise PlatformError(f"{error}\n{why}".rstrip()) from None
        described = self.describe(service)
        tagged = [r["url"] for r in described["revisions"] if r["revision"] == made and r["url"]]
        return {"revision": made, "url": described["url"], "tag_url": tagged[0] if tagged else described["url"]}

    def why(self, service, before):
        """What a revision that did not get ready wrote last; it takes none of the requests."""
        failed = [r["metadata"]["name"] for r in self.run("revisions", "list", "--service", service, check=False) or []]
        new = [name for name in failed if name not in before]
        return "It wrote last:\n" + "\n".join(self.logs(service, new[0], 8)) if new else ""

    def traffic(self, service, shares):
        wanted = new_shares(self.describe(service)["revisions"], shares)
        self.run("services", "update-traffic", service, "--to-revisions",
                 ",".join(f"{revision}={percent}" for revision, percent in wanted.items()))
        return self.describe(service)

    def describe(self, service):
        status = self.run("services", "describe", service)
        revisions = {}
        for item in reversed(self.run("revisions", "list", "--service", service) or []):  # newest last
            name = item["metadata"]["name"]
            revisions[name] = {"revision": name, "image": item["spec"]["containers"][0]["image"].rpartition(":")[2],
                               "tag": "", "percent": 0, "url": ""}
        for target in status["status"].get("traffic", []):
            revision = revisions.get(target.get("revisionName"))
            if revision:
                revision["percent"] += target.get("percent", 0)
                if target.get("tag"):
                    revision.update(tag=target["tag"], url=target.get("url", ""))
        return {"service": service, "url": status["status"]["url"], "labels": status["metadata"].get("labels", {}),
                "revisions": list(revisions.values())}

    def remove_tag(self, service, tag):
        self.run("services", "update-traffic", service, "--remove-tags", tag)
        return self.describe(service)

    def stats(self, service, seconds):
        counts = self.series(service, seconds, "request_count", "ALIGN_SUM",
                             ["resource.label.revision_name", "metric.label.response_code_class"])
        result = {}
        for labels, code_class, value in counts:
            one = result.setdefault(labels, {"requests": 0, "errors": 0, "p50_ms": 0.0, "p99_ms": 0.0})
            one["requests"] += int(value)
            one["errors"] += int(value) if code_class == "5xx" else 0
        for name, aligner in (("p50_ms", "ALIGN_PERCENTILE_50"), ("p99_ms", "ALIGN_PERCENTILE_99")):
            for revision, _, value in self.series(service, seconds, "request_latencies", aligner,
                                                  ["resource.label.revision_name"]):
                if revision in result:
                    result[revision][name] = float(value)
        return result

    def series(self, service, seconds, metric, aligner, fields):
        """(revision, class of the response code or "", value) of one aligned point each."""
        seconds = max(seconds, 60)  # less is refused
        now = datetime.datetime.now(datetime.timezone.utc)
        moment = "%Y-%m-%dT%H:%M:%SZ"
        # Percentiles of several instances are merged as distributions only by taking the worst of them.
        reducer = "REDUCE_SUM" if aligner == "ALIGN_SUM" else "REDUCE_MAX"
        query = [("filter", f'metric.type="run.googleapis.com/{metric}" AND resource.labels.service_name="{service}"'),
                 ("interval.startTime", (now - datetime.timedelta(seconds=seconds)).strftime(moment)),
                 ("interval.endTime", now.strftime(moment)),
                 ("aggregation.alignmentPeriod", f"{seconds}s"), ("aggregation.perSeriesAligner", aligner),
                 ("aggregation.crossSeriesReducer", reducer)]
        query += [("aggregation.groupByFields", field) for field in fields]
        base = self.environment.get("FLAMBEAU_MONITORING_URL", MONITORING)
        request = urllib.request.Request(
            base.format(project=self.project, query=urllib.parse.urlencode(query)),
            headers={"Authorization": "Bearer " + self.gcloud("auth", "print-access-token").strip()})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                found = json.load(answer).get("timeSeries", [])
        except urllib.error.HTTPError as error:
            raise PlatformError(f"Cloud Monitoring: {error.code} {error.read(500).decode(errors='replace')}") from None
        except OSError as error:
            raise PlatformError(f"Cloud Monitoring cannot be reached: {error}") from None
        for one in found:
            value = one["points"][0]["value"]
            yield (one["resource"]["labels"].get("revision_name", ""),
                   one.get("metric", {}).get("labels", {}).get("response_code_class", ""),
                   value.get("int64Value", value.get("doubleValue", 0)))

    def logs(self, service, revision, lines):
        text = self.gcloud("logging", "read", "resource.type=cloud_run_revision AND "
                           f"resource.labels.service_name={service} AND resource.labels.revision_name={revision}",
                           "--limit", str(lines), "--format", "value(severity,textPayload,jsonPayload.message)",
                           check=False)
        return list(reversed((text or "").splitlines()))

    def delete(self, service):
        if self.run("services", "describe", service, check=False) is not None:
            self.run("services", "delete", service)

    def list(self, labels):
        words = ["services", "list"]
        if labels:
            words += ["--filter", " AND ".join(f"metadata.labels.{name}={value}" for name, value in labels.items())]
        return [{"service": item["metadata"]["name"], "labels": item["metadata"].get("labels", {}),
                 "created": datetime.datetime.fromisoformat(
                     item["metadata"]["creationTimestamp"].replace("Z", "+00:00")).timestamp()}
                for item in self.run(*words) or []]

    def headers(self, url):
        token = self.environment.get("FLAMBEAU_ID_TOKEN")
        if not token:  # the audience is the service's URL, also for the URL of a tag
            audience = re.sub(r"//[a-z0-9-]+---", "//", url)
            token = self.gcloud("auth", "print-identity-token", f"--audiences={audience}").strip()
        return [f"Authorization: Bearer {token}"]
