"""flambeau-train and `flambeau runs|baseline` against a real MLflow server, looked at with MLflow's own client.

    tests/compat/run tracking

Starts its servers on free ports, in a folder of its own: one, one with basic authentication, and one that is stopped
while it is needed.
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import mlflow
from mlflow.tracking import MlflowClient

work, programs = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
root = pathlib.Path(__file__).resolve().parents[2]
sample = root / "trainer/sample/news.csv"
tools = pathlib.Path(sys.executable).parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, name, port=None, arguments=(), variables=None):
        self.folder, self.port = work / name, port or free_port()
        self.folder.mkdir(exist_ok=True)
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [tools / "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
             "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
             "--artifacts-destination", str(self.folder / "artifacts"), *arguments],
            cwd=self.folder, stdout=self.log, stderr=self.log, env={**os.environ, **(variables or {})})
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(self.url + "/health", timeout=2).read()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    sys.exit(f"the MLflow server does not start: see {self.folder}/log")
                time.sleep(0.2)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def call(program, *arguments, code=0, **variables):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    done = subprocess.run([programs / program, *map(str, arguments)], cwd=work, env={**environment, **variables},
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == code, f"{program} {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def train(*arguments, code=0, **variables):
    return call("flambeau-train", "news", "--data", sample, "--epochs", 5, "--force", "--result", "result.json",
                *arguments, code=code, **variables)


def result():
    return json.loads((work / "result.json").read_text())


def check_run(client, run_id):
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED" and run.info.end_time >= run.info.start_time > 1_600_000_000_000
    assert run.data.params["max_iterations"] == "5" and run.data.params["l2"] == "0.0003"
    history = client.get_metric_history(run_id, "train/loss")
    assert [m.step for m in history] == list(range(6)), history
    assert 0.5 < run.data.metrics["accuracy"] <= 1
    assert len(run.data.tags["data.training.sha256"]) == 64 and run.data.tags["flambeau.libtorch"]
    dataset = run.inputs.dataset_inputs[0]
    assert dataset.dataset.name == "news.csv" and dataset.tags[0].value == "training"
    names = {f.path for f in client.list_artifacts(run_id)}
    assert {"model", "metrics.json", "confusion_matrix.svg", "learning_curve.svg", "lineage.json"} <= names, names
    return run


def everything_arrives():
    server = Server("plain")
    client = MlflowClient(server.url)
    train("--tracking-uri", server.url, "--experiment", "it's new", "--register-model", "news", "--alias", "candidate",
          "--model-tag", "stage=try", "--model-description", "A try.", "--tag", "who=me")
    said = result()
    run = check_run(client, said["run_id"])
    assert client.get_experiment(run.info.experiment_id).name == "it's new" and run.data.tags["who"] == "me"
    version = client.get_model_version_by_alias("news", "candidate")
    assert (version.version, version.run_id, version.description) == ("1", said["run_id"], "A try.")
    assert version.tags["stage"] == "try" and said["version"] == "1"
    mlflow.set_tracking_uri(server.url)
    got = mlflow.artifacts.download_artifacts("models:/news@candidate", dst_path=str(work / "got"))
    archive = next(pathlib.Path(got).rglob("*.mar"))
    assert archive.read_bytes() == (work / "model-store/news_classification.mar").read_bytes()
    verified = call("flambeau", "baseline", "verify", "models:/news@candidate", "--data", sample, "--retrain",
                    MLFLOW_TRACKING_URI=server.url).stdout
    assert "the weights are the same" in verified
    print("ok: a training arrives, is registered, and is trained again to the same weights")

    # Sent once more nothing is there twice.
    before = len(client.get_metric_history(said["run_id"], "train/loss"))
    call("flambeau", "runs", "sync", said["run"], "--tracking-uri", server.url)
    assert len(client.get_metric_history(said["run_id"], "train/loss")) == before
    assert len(client.search_model_versions("name='news'")) == 1
    print("ok: a run that is sent again is there once")

    (work / "grid.yaml").write_text("l2: [1e-4, 3e-3]\nsmoothing: [0.1, 0.3]\n")
    table = train("--tracking-uri", server.url, "--experiment", "sweep", "--sweep", "grid.yaml",
                  "--register-model", "news").stdout
    assert table.count("\n") >= 5 and "<- best" in table, table
    runs = client.search_runs([client.get_experiment_by_name("sweep").experiment_id])
    parents = {r.data.tags.get("mlflow.parentRunId") for r in runs}
    assert len(runs) == 5 and len(parents) == 2, parents
    print("ok: a sweep is a run with parts")

    lists = call("flambeau", "runs", "list", "--tracking-uri", server.url).stdout
    assert lists.count("FINISHED") == 6, lists
    shown = call("flambeau", "runs", "show", said["run_id"], "--tracking-uri", server.url).stdout
    assert "model/news_classification.mar" in shown and "confusion_matrix.svg" in shown
    print("ok: runs are listed and shown from the server")

    environment = {**os.environ, "MLFLOW_TRACKING_URI": server.url, "PATH": f"{programs}:{tools}:{os.environ['PATH']}"}
    subprocess.run([tools / "mlflow", "run", str(root), "--experiment-name", "project", "-P", "l2=3e-4",
                    "-P", "epochs=5", "-P", f"out={work}/project-store", "-P", f"runs={work}/project-runs"],
                   check=True, env=environment, cwd=work, stdout=server.log, stderr=server.log)
    (run,) = client.search_runs([client.get_experiment_by_name("project").experiment_id])
    assert run.info.status == "FINISHED" and run.data.metrics["accuracy"] > 0.5
    assert run.data.tags["mlflow.project.entryPoint"] == "main" and run.data.params["l2"] == "3e-4"
    print("ok: `mlflow run` trains into the run that it made")
    server.stop()


def a_server_that_goes_away():
    server = Server("away")
    server.stop()
    runs = work / "runs-away"
    said = train("--tracking-uri", server.url, "--runs", runs, "--register-model", "news", "--alias", "candidate",
                 MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert "runs sync" in said.stderr and result()["run_id"] == ""
    train("--tracking-uri", server.url, "--runs", runs, "--require-tracking", code=1,
          MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    server = Server("away", server.port)
    call("flambeau", "runs", "sync", "--runs", runs, "--tracking-uri", server.url)
    client = MlflowClient(server.url)
    found = client.search_runs([client.get_experiment_by_name("news").experiment_id])
    local = json.loads(call("flambeau", "runs", "list", "--runs", runs, "--json").stdout)
    assert len(found) == len(local) == 2 and all(r["sent"] == "yes" for r in local), (len(found), len(local))
    client.get_model_version_by_alias("news", "candidate")
    assert call("flambeau", "runs", "sync", "--runs", runs, "--tracking-uri", server.url).stdout == "nothing to send\n"
    print("ok: what a dead server did not get is sent later")
    server.stop()


def authentication():
    settings = work / "auth.ini"
    settings.write_text(f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{work}/auth.db\n"
                        "admin_username = admin\nadmin_password = a-long-password-1\n"
                        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n")
    server = Server("auth", arguments=["--app-name", "basic-auth"],
                    variables={"MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_FLASK_SERVER_SECRET_KEY": "key"})
    refused = train("--tracking-uri", server.url)
    assert "401" in refused.stderr and "MLFLOW_TRACKING_USERNAME" in refused.stderr, refused.stderr
    named = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "a-long-password-1"}
    train("--tracking-uri", server.url, **named)
    assert result()["run_id"]
    home = work / "home"
    (home / ".mlflow").mkdir(parents=True)
    (home / ".mlflow/credentials").write_text("[mlflow]\nmlflow_tracking_username = admin\n"
                                              "mlflow_tracking_password = a-long-password-1\n")
    train("--tracking-uri", server.url, HOME=str(home))
    assert result()["run_id"]
    print("ok: basic authentication, from the environment and from a file")
    server.stop()


everything_arrives()
a_server_that_goes_away()
try:
    import flask_wtf  # noqa: F401  what basic-auth needs
except ImportError:
    print("skipped: basic authentication needs the package Flask-WTF")
else:
    authentication()
