"""TorchServe handler: TorchScript, one batched call for what the frontend put together."""
import json
import os

import torch
from model_input import ModelInput

state = {}


def handle(data, context):
    if not state:
        folder = context.system_properties["model_dir"]
        config = context.model_yaml_config["handler"]
        if config["threads"]:
            torch.set_num_threads(config["threads"])
        state["input"] = ModelInput(json.loads(config["inputs"]))
        state["module"] = torch.jit.load(os.path.join(folder, context.manifest["model"]["serializedFile"])).eval()
    if data is None:
        return None
    rows = [state["input"].row(row.get("body") or row.get("data")) for row in data]
    with torch.inference_mode():
        return state["module"](*ModelInput.batch(rows)).tolist()
