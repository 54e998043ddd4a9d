"""FastAPI app for `uvicorn fastapi_app:app`; BENCH_MODEL, BENCH_INPUTS and BENCH_THREADS say what it serves."""
import json
import os

import torch
from fastapi import FastAPI, Request
from model_input import ModelInput

torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
model_input = ModelInput(json.loads(os.environ["BENCH_INPUTS"]))
module = torch.jit.load(os.environ["BENCH_MODEL"]).eval()
app = FastAPI()


@app.post("/predict")
async def predict(request: Request):
    row = model_input.row_of_http(await request.body(), request.headers["content-type"])
    with torch.inference_mode():
        return module(*row)[0].tolist()
