"""What TorchServe runs in the comparison: a TorchScript model on the numbers of a JSON array, as our tensor handler."""

import json
import os

import torch

model = None


def handle(data, context):
    global model
    if model is None:
        folder = context.system_properties["model_dir"]
        model = torch.jit.load(os.path.join(folder, context.manifest["model"]["serializedFile"]))
    if data is None:
        return None
    if context.get_request_header(0, "describe") == "True":
        return [{}]
    answers = []
    for row in data:
        value = row.get("data", row.get("body")) if isinstance(row, dict) else row  # an envelope's instance
        if isinstance(value, (bytes, bytearray)):
            value = json.loads(value)
        if isinstance(value, dict):
            value = value["data"]
        answers.append(model(torch.tensor(value, dtype=torch.float32)).tolist())
    return answers
