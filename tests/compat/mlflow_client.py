#!/usr/bin/env python3
"""mlflow's deployment client (mlflow-torchserve) against a running Flambeau: a deployment's whole life.

Started by `tests/compat/run mlflow`, which also starts the server. The client packs the model with the
torch-model-archiver that it finds in PATH: ours.
"""

import json
import os
import pathlib
import sys

import torch
from mlflow.deployments import get_deploy_client


class Double(torch.nn.Module):
    def forward(self, x):
        return x * 2


def expect(what, condition, seen):
    print(f"{'ok   ' if condition else 'FAIL '} {what}" + ("" if condition else f": {seen}"), flush=True)
    return bool(condition)


def main():
    folder = pathlib.Path(sys.argv[1])  # where the model file is made; EXPORT_PATH is the server's model store
    model = folder / "model.pt"
    torch.jit.script(Double().eval()).save(str(model))
    client = get_deploy_client("torchserve")
    name = "mlflow_double"
    config = {"HANDLER": "base_handler", "initial_workers": "1", "synchronous": "true"}
    done = []

    created = client.create_deployment(name=name, model_uri=str(model), flavor="pytorch", config=config)
    done.append(expect("create gives name and flavor", created.get("name", "").startswith(name), created))
    done.append(expect("the archive lies in the model store",
                       (pathlib.Path(os.environ["EXPORT_PATH"]) / f"{name}.mar").is_file(), os.environ["EXPORT_PATH"]))
    listed = client.list_deployments()
    done.append(expect("list has it", any(name in json.dumps(one) for one in listed), listed))
    described = json.loads(client.get_deployment(name)["deploy"])
    done.append(expect("get describes it", described[0]["modelVersion"] == "1.0" and described[0]["workers"],
                       described))

    answer = json.loads(client.predict(name, torch.tensor([[1.0, 2.0]])))
    done.append(expect("a tensor is predicted", answer in ([[2.0, 4.0]], [2.0, 4.0]), answer))
    answer = json.loads(client.predict(name, json.dumps({"data": "[3.0]"})))  # which the client sends as a form
    done.append(expect("a JSON object is predicted", answer == [6.0], answer))

    client.create_deployment(name=name, model_uri=str(model), flavor="pytorch", config=config)
    versions = json.loads(client.get_deployment(name + "/all")["deploy"])
    done.append(expect("a second create makes version 2.0",
                       sorted(one["modelVersion"] for one in versions) == ["1.0", "2.0"], versions))
    client.update_deployment(name, config={"min_worker": "2", "synchronous": "true"})
    described = json.loads(client.get_deployment(name)["deploy"])
    done.append(expect("update scales", described[0]["minWorkers"] == 2, described))
    client.update_deployment(name + "/2.0", config={"SET-DEFAULT": "true"})
    described = json.loads(client.get_deployment(name)["deploy"])
    done.append(expect("update sets the default", described[0]["modelVersion"] == "2.0", described))
    client.delete_deployment(name + "/1.0")
    client.delete_deployment(name)
    done.append(expect("delete removes it", not any(name in json.dumps(one) for one in client.list_deployments()), ""))
    print(f"mlflow: {sum(done)} passed, {len(done) - sum(done)} failed")
    sys.exit(not all(done))


if __name__ == "__main__":
    main()
