"""Request body -> input tensors, the same for every Python peer. Copied into TorchServe's archives as it is."""
import json
import re

import torch

DTYPES = {"float32": torch.float32, "int64": torch.int64}


class ModelInput:
    """`declarations` are those of models.json: name:dtype:[shape of one row]."""

    def __init__(self, declarations):
        self.specs = []
        for text in declarations:
            name, dtype, shape = re.fullmatch(r"(\w+):(\w+):\[([\d,]*)\]", text).groups()
            self.specs.append((name, DTYPES[dtype], [int(size) for size in shape.split(",")]))

    def row(self, body):
        """One tensor [1, ...] for each input, from raw bytes, a list (the only input) or a dict (by name)."""
        if isinstance(body, (bytes, bytearray)):
            (_, dtype, shape), = self.specs
            return [torch.frombuffer(bytearray(body), dtype=dtype).reshape(1, *shape)]
        if isinstance(body, list):
            (_, dtype, _), = self.specs
            return [torch.tensor([body], dtype=dtype)]
        return [torch.tensor([body[name]], dtype=dtype) for name, dtype, _ in self.specs]

    def row_of_http(self, body, content_type):
        return self.row(json.loads(body) if content_type.startswith("application/json") else body)

    @staticmethod
    def batch(rows):
        return rows[0] if len(rows) == 1 else [torch.cat(parts) for parts in zip(*rows)]
