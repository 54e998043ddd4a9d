"""Registers an archive as a version of a model, as somebody does who goes round the training workflow.

register_archive.py ARCHIVE MODEL    MLFLOW_TRACKING_URI names the server; prints the version
"""

import sys

import mlflow
from mlflow.tracking import MlflowClient

archive, model = sys.argv[1:]
client = MlflowClient()
with mlflow.start_run(run_name="by hand") as run:
    mlflow.log_artifact(archive, "model")
name = archive.rpartition("/")[2]
version = client.create_model_version(model, f"{run.info.artifact_uri}/model/{name}", run.info.run_id)
print(version.version)
