#!/usr/bin/env python3
"""Compiles the .pt2 packages of the wire tests, and breaks some of them: make_packages.py FOLDER

Needs torch 2.13 and a C++ compiler. What was made is kept until torch, the CPU or this script changes; expected.json
holds what the models answer in Python.
"""

import hashlib
import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import sys
import zipfile


def stamp():
    cpu = [line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")][:1]
    parts = [importlib.metadata.version("torch"), *cpu, pathlib.Path(__file__).read_text()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def make_models(folder):
    # Set before torch is imported: what the compiler leaves behind, and how much of the machine it uses.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "cache")
    import torch

    class Mlp(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4))

        def forward(self, x):
            return self.layers(x)

    class Pair(torch.nn.Module):
        """Two inputs, one of them integers; a dictionary of two outputs."""

        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(10, 3)

        def forward(self, x, ids):
            return {"mixed": x + self.table(ids).sum(1), "doubled": ids * 2}

    def compile_package(module, inputs, name, batch, **more):
        shapes = None
        if batch:
            dimension = torch.export.Dim("batch", min=1, max=batch)
            shapes = tuple({0: dimension} for _ in inputs)
        with torch.no_grad():
            program = torch.export.export(module.eval(), inputs, dynamic_shapes=shapes)
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(folder / f"{name}.pt2"),
                inductor_configs={"aot_inductor.compile_wrapper_opt_level": "O0", "max_autotune": False, **more})
        return program

    torch.manual_seed(3)
    mlp, pair = Mlp(), Pair()
    x, y, ids = torch.randn(16, 16), torch.randn(4, 3), torch.randint(0, 10, (4, 2))
    program = compile_package(mlp, (x,), "mlp", 16)
    compile_package(mlp, (x[:4],), "fixed", None)
    compile_package(pair, (y, ids), "pair", 4)
    compile_package(mlp, (x,), "weightless", 16, **{"aot_inductor.package_constants_in_so": False})
    torch.export.save(program, folder / "exported.pt2")
    torch.save(mlp.state_dict(), folder / "weights.pt2")
    with torch.no_grad():
        answer = pair(y, ids)
        expected = {"mlp": {"x": x.tolist(), "answers": mlp(x).tolist()},
                    "pair": {"x": y.tolist(), "ids": ids.tolist(), "mixed": answer["mixed"].tolist(),
                             "doubled": answer["doubled"].tolist()}}
    (folder / "expected.json").write_text(json.dumps(expected))


def change(source, target, edit):
    """Copies a package; edit(name, bytes) returns the bytes to write instead, or None for none."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = edit(name, old.read(name))
            if data is not None:
                new.writestr(zipfile.ZipInfo(name), data)


def break_packages(folder):
    good = folder / "mlp.pt2"

    def with_metadata(name, **values):
        def edit(entry, data):
            return json.dumps({**json.loads(data), **values}).encode() if entry.endswith("_metadata.json") else data

        change(good, folder / name, edit)

    with_metadata("cuda.pt2", AOTI_DEVICE_KEY="cuda")
    with_metadata("machine.pt2", AOTI_MACHINE="s390x")
    with_metadata("isa.pt2", AOTI_CPU_ISA="AVX2 AVX9000")
    change(good, folder / "sources.pt2", lambda name, data: None if name.endswith(".so") else data)
    change(good, folder / "no_elf.pt2", lambda name, data: b"no library" if name.endswith(".so") else data)
    # A library that needs a function of a libtorch that never was; the name keeps its length.
    change(good, folder / "symbol.pt2", lambda name, data: data.replace(b"aoti_torch_empty_strided",
                                                                        b"aoti_torch_empty_strxxxx"))
    # Compiled for an example whose rows lie side by side in memory.
    change(good, folder / "strided.pt2", lambda name, data: re.sub(
        rb"if \(1 != (\w+_stride\[1\])", rb"if (16 != \1", data) if name.endswith(".wrapper.cpp") else data)
    data = good.read_bytes()
    (folder / "cut.pt2").write_bytes(data[:len(data) * 2 // 3])
    middle = len(data) // 2
    (folder / "flipped.pt2").write_bytes(data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1:])
    (folder / "empty.pt2").write_bytes(b"")
    (folder / "text.pt2").write_text("no zip at all")
    with zipfile.ZipFile(folder / "foreign.pt2", "w") as archive:
        archive.writestr("notes/readme.txt", "a zip of something else")
    shutil.copy(good, folder / "renamed.pt")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1]).resolve()
    wanted = stamp()
    mark = folder / "stamp"
    if mark.exists() and mark.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make_models(folder)
    break_packages(folder)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    mark.write_text(wanted)


if __name__ == "__main__":
    main()
