"""LitServe app: litserve_app.py MODEL INPUTS-JSON PORT WORKERS THREADS BATCH-SIZE"""
import json
import sys

import litserve
import torch
from fastapi import Request
from model_input import ModelInput


class Api(litserve.LitAPI):
    def __init__(self, file, inputs, threads, **options):
        super().__init__(**options)
        self.file, self.inputs, self.threads = file, inputs, threads

    def setup(self, device):
        torch.set_num_threads(self.threads)
        self.input = ModelInput(self.inputs)
        self.module = torch.jit.load(self.file).eval()

    def decode_request(self, request: Request):
        # What is no JSON is a form: the one way in for bytes.
        return self.input.row(request if isinstance(request, (dict, list)) else request["x"].file.read())

    def batch(self, inputs):
        return ModelInput.batch(inputs)

    def predict(self, inputs):
        with torch.inference_mode():
            return self.module(*inputs)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return output.flatten().tolist()


if __name__ == "__main__":
    file, inputs, port, workers, threads, batch_size = sys.argv[1:]
    api = Api(file, json.loads(inputs), int(threads), max_batch_size=int(batch_size), batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(workers))
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="warning", access_log=False)
