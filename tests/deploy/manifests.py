"""Manifests: the kinds of Kubernetes by its own schemas, those of KServe, Knative and the Prometheus operator by what
is written here. What is a pod in them is checked as one."""

import kubernetes_validate
import yaml

VERSION = "1.34"
# Of each kind that Kubernetes does not know: allowed fields with what they hold. `!` marks one that must be there, {}
# anything, `pod` the fields of a pod, a list a list of such, a tuple one of its words.
TEXT, NUMBER = str, int
META = {"!name": TEXT, "namespace": TEXT, "labels": {}, "annotations": {}}
RUNTIME = {"annotations": {}, "labels": {}, "multiModel": bool, "disabled": bool,
           "!supportedModelFormats": [{"!name": TEXT, "version": TEXT, "autoSelect": bool, "priority": NUMBER}],
           "!protocolVersions": [("v1", "v2", "grpc-v2")],
           "pod": ["!containers", "volumes", "imagePullSecrets", "nodeSelector"]}
PREDICTOR = {"minReplicas": NUMBER, "maxReplicas": NUMBER, "scaleMetric": ("concurrency", "rps", "cpu", "memory"),
             "scaleTarget": NUMBER, "canaryTrafficPercent": NUMBER, "serviceAccountName": TEXT, "timeout": NUMBER,
             "containerConcurrency": NUMBER,
             "!model": {"!modelFormat": {"!name": TEXT, "version": TEXT}, "runtime": TEXT,
                        "protocolVersion": ("v1", "v2"),
                        "storageUri": TEXT, "env": [{"!name": TEXT, "value": TEXT, "valueFrom": {}}], "resources": {}}}
KINDS = {
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): RUNTIME,
    ("serving.kserve.io/v1alpha1", "ClusterServingRuntime"): RUNTIME,
    ("serving.kserve.io/v1beta1", "InferenceService"): {"!predictor": PREDICTOR, "transformer": {}, "explainer": {}},
    ("serving.knative.dev/v1", "Service"): {
        "!template": {"metadata": {"name": TEXT, "labels": {}, "annotations": {}},
                      "!spec": {"containerConcurrency": NUMBER, "timeoutSeconds": NUMBER,
                                "responseStartTimeoutSeconds": NUMBER,
                                "pod": ["!containers", "volumes", "serviceAccountName", "enableServiceLinks"]}},
        "traffic": [{"revisionName": TEXT, "latestRevision": bool, "percent": NUMBER, "tag": TEXT}]},
    ("monitoring.coreos.com/v1", "PodMonitor"): {
        "!selector": {"matchLabels": {}, "matchExpressions": {}}, "namespaceSelector": {}, "jobLabel": TEXT,
        "!podMetricsEndpoints": [{"!port": TEXT, "path": TEXT, "interval": TEXT, "scrapeTimeout": TEXT, "scheme": TEXT,
                                  "relabelings": [{"sourceLabels": {}, "targetLabel": TEXT, "replacement": TEXT,
                                                   "regex": TEXT, "action": TEXT}], "metricRelabelings": {}}]},
}
OF_KUBERNETES = ("v1", "apps/v1", "autoscaling/v2", "policy/v1", "networking.k8s.io/v1")
MANAGEMENT_PORT = 8081


def fits(value, shape, path):
    """What is wrong with a value, as `path: text`."""
    if isinstance(shape, type):
        if not isinstance(value, shape) or (shape is NUMBER and isinstance(value, bool)):
            yield f"{path}: is not of type {shape.__name__}"
    elif isinstance(shape, tuple):
        if value not in shape:
            yield f"{path}: is none of {', '.join(shape)}"
    elif isinstance(shape, list):
        if not isinstance(value, list) or not value:
            yield f"{path}: is not a list with something in it"
        else:
            for number, item in enumerate(value):
                yield from fits(item, shape[0], f"{path}[{number}]")
    elif not isinstance(value, dict):
        if shape:
            yield f"{path}: is not an object"
    elif shape:
        yield from fields_fit(value, shape, path)


def fields_fit(value, shape, path):
    pod = shape.get("pod", [])
    known = {name.lstrip("!"): (shape.get(name), name.startswith("!")) for name in [*shape, *pod] if name != "pod"}
    yield from (f"{path}: has no {name}" for name, (_, must) in known.items() if must and name not in value)
    for name, item in value.items():
        if name not in known:
            yield f"{path}.{name}: there is no such field"
        elif known[name][0] is not None:
            yield from fits(item, known[name][0], f"{path}.{name}")
    inner = {name: item for name, item in value.items() if name in {one.lstrip("!") for one in pod}}
    if inner:
        for container in inner.get("containers", []):
            for probe in [container[name] for name in container if name.endswith("Probe")]:
                if "httpGet" in probe:  # Knative knows the port
                    probe["httpGet"].setdefault("port", 8080)
        yield from by_kubernetes({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "of"}, "spec": inner}, path)


def by_kubernetes(manifest, path):
    try:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{path}: {'.'.join(str(part) for part in error.path)}: {error.message[:300]}"


def ports(value):
    """Every port that a manifest opens."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in ("containerPort", "port", "targetPort") and isinstance(item, int):
                yield item
            yield from ports(item)
    elif isinstance(value, list):
        for item in value:
            yield from ports(item)


def check_text(where, text):
    problems = []
    for manifest in yaml.safe_load_all(text):
        if not isinstance(manifest, dict) or "kind" not in manifest:
            continue  # values of a chart
        kind = manifest.get("apiVersion"), manifest["kind"]
        path = f"{where}: {kind[1]}"
        if kind[0].startswith("kustomize.config.k8s.io/"):
            continue  # kubectl reads it
        if kind[0] in OF_KUBERNETES:
            problems += by_kubernetes(manifest, path)
        elif kind in KINDS:
            problems += fits(manifest, {"!apiVersion": TEXT, "!kind": TEXT, "!metadata": META, "!spec": KINDS[kind]},
                             path)
        else:
            problems.append(f"{path}: tests/deploy/manifests.py does not know {' '.join(kind)}")
        if MANAGEMENT_PORT in ports(manifest):
            problems.append(f"{path}: opens the port of the management API")
    return problems


def check(root, files):
    """Patches are no whole manifests: what comes of them is checked as kubectl builds it."""
    patches = {file.parent / patch["path"] for file in files if file.name == "kustomization.yaml"
               for patch in yaml.safe_load((root / file).read_text()).get("patches", []) if "path" in patch}
    return [problem for file in files if file not in patches for problem in check_text(file, (root / file).read_text())]
