"""The servers that are compared. Each is a Process with `url`, where a prediction of its model is asked for."""
import array
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

from processes import BenchError, Process, call, free_port, try_call

HERE = pathlib.Path(__file__).resolve().parent
BATCH_SIZES = {"noop": 8, "mlp": 32, "resnet18": 8, "encoder": 8}


class Model:
    """A TorchScript file, what it takes, and one request for it as each server wants it."""

    def __init__(self, name: str, folder: pathlib.Path, declarations: list, work: pathlib.Path):
        self.name, self.file, self.declarations = name, folder / f"{name}.pt", declarations
        self.batch_size = BATCH_SIZES[name]
        self.raw = name in ("noop", "resnet18")
        if self.raw:
            body, self.content_type = self._floats(3 * 224 * 224), "application/octet-stream"
        else:
            body, self.content_type = json.dumps(self._json()).encode(), "application/json"
        self.body_file = work / f"{name}.body"
        self.body_file.write_bytes(body)
        # The same bytes as a form, for servers that take no raw ones.
        self.form_type = "multipart/form-data; boundary=bench"
        self.form_file = work / f"{name}.form"
        self.form_file.write_bytes(b'--bench\r\nContent-Disposition: form-data; name="x"; filename="x"\r\n'
                                   b"Content-Type: application/octet-stream\r\n\r\n" + body + b"\r\n--bench--\r\n")

    def _json(self):
        if self.name == "mlp":
            return [round(0.01 * i, 2) for i in range(64)]
        tokens = 128
        return {"input_ids": [101] + [1000 + 37 * i % 20000 for i in range(tokens - 2)] + [102],
                "attention_mask": [1] * tokens}

    @staticmethod
    def _floats(count: int) -> bytes:
        return array.array("f", (((i * 7919) % 1000) / 500 - 1 for i in range(count))).tobytes()


class Server(Process):
    """Answers `url`; `form` says that it wants raw bytes as a form."""

    url = ""
    form = False

    def load_arguments(self, model: Model) -> list:
        form = self.form and model.raw
        return ["--url", self.url, "--body", model.form_file if form else model.body_file,
                "--header", "Content-Type: " + (model.form_type if form else model.content_type)]

    def take_printed_port(self) -> None:
        """Of programs that print nothing but the port they listen on."""
        port = self.wait_until(lambda: re.search(r"^(\d+)\n", self.log.read_text()), 10)[1]
        self.url = f"http://127.0.0.1:{port}/"

    def predict(self, model: Model) -> bytes | None:
        """The answer to one request, None while there is none."""
        form = self.form and model.raw
        answer = try_call("POST", self.url, (model.form_file if form else model.body_file).read_bytes(),
                          {"Content-Type": model.form_type if form else model.content_type})
        return answer[1] if answer and answer[0] == 200 else None


class Echo(Server):
    """Beast alone: reads the request into a string and sends `answer`."""

    def __init__(self, programs: pathlib.Path, work: pathlib.Path, answer: bytes, threads=1):
        (work / "answer").write_bytes(answer)
        super().__init__("echo", [programs / "beast_echo", "--port", 0, "--threads", threads, "--answer", work / "answer"],
                         work / "echo.log")
        self.take_printed_port()


class BodyFloor(Server):
    """Receives bodies into one buffer for each thread and answers two bytes."""

    def __init__(self, programs: pathlib.Path, work: pathlib.Path, threads: int):
        super().__init__("body_floor", [programs / "body_floor", threads], work / "body_floor.log")
        self.take_printed_port()


class Flambeau(Server):
    """`flambeau serve` as a user starts it, access log included, with one model loaded at start."""

    def __init__(self, programs, work: pathlib.Path, archives: pathlib.Path, model: Model, flags=(), name="flambeau"):
        work = work / name
        work.mkdir(exist_ok=True)
        ports = work / "ports"
        ports.unlink(missing_ok=True)
        zero = "http://127.0.0.1:0"
        super().__init__(name, [
            programs / "flambeau", "serve", "--model-store", archives, "--load-models", f"{model.name}.mar",
            "--batch-size", model.batch_size, "--port-file", ports, "--inference-address", zero,
            "--management-address", zero, "--metrics-address", zero, "--access-log-file", work / "access.log",
            "--ncs", *flags],  # what an earlier part registered must not come back
            work / "log")
        self.wait_until(lambda: ports.exists() and "management=" in ports.read_text(), 60, 0.002)
        self.ports = dict(line.split("=") for line in ports.read_text().split())
        self.use(model.name)

    def address(self, listener: str) -> str:
        return f"http://127.0.0.1:{self.ports[listener]}"

    def use(self, model_name: str) -> "Flambeau":
        self.url = f"{self.address('inference')}/predictions/{model_name}"
        return self

    def settle(self, name: str) -> "Flambeau":
        """Waits until the model answers and what the server does for it in the background is done."""
        ping = f"{self.address('inference')}/ping"
        self.wait_until(lambda: (try_call("GET", ping) or [0])[0] == 200, 60)
        self.wait_until(lambda: not self._is_tuning(name), 300, 0.2)
        return self.use(name)

    def register(self, model: Model, name: str, batch_size: int) -> None:
        """Loads an archive under another name, with as many workers as the server planned for the first model."""
        first = self.url.rpartition("/")[2]
        self.settle(first)
        workers = len(self.describe(first)["workers"])
        status, text = call("POST", f"{self.address('management')}/models?url={model.name}.mar&model_name={name}"
                            f"&batch_size={batch_size}&initial_workers={workers}&synchronous=true", timeout=300)
        if status != 200:
            raise BenchError(f"Flambeau refused {name}: {text.decode(errors='replace')[:300]}")
        self.settle(name).use(first)

    def describe(self, name: str) -> dict:
        return json.loads(call("GET", f"{self.address('management')}/models/{name}")[1])[0]

    def _is_tuning(self, name: str) -> bool:
        tuning = self.describe(name).get("tuning") or {}
        return isinstance(tuning, dict) and tuning.get("state") in ("waiting", "running")


def default_workers() -> int:
    return len(os.sched_getaffinity(0))


def pack(programs: pathlib.Path, archives: pathlib.Path, model: Model) -> None:
    inputs = [word for declaration in model.declarations for word in ("--input", declaration)]
    result = subprocess.run([programs / "flambeau", "archive", "create", "--model-name", model.name, "--version", "1.0",
                             "--serialized-file", model.file, "--handler", "tensor", *inputs,
                             "--export-path", archives, "--force"], text=True, capture_output=True, check=False)
    if result.returncode:
        raise BenchError(f"flambeau archive create: {result.stdout}{result.stderr}")


class TorchServe(Server):
    """TorchServe with the settings it is shipped with, tokens off. `threads` 0: as many as PyTorch chooses."""

    def __init__(self, environment, work: pathlib.Path, model: Model, workers: int, threads=0, batch_size=8):
        work = work / "torchserve"
        shutil.rmtree(work, ignore_errors=True)
        (work / "store").mkdir(parents=True)
        config = work / "model-config.yaml"
        config.write_text(f"handler:\n  threads: {threads}\n  inputs: '{json.dumps(model.declarations)}'\n")
        peers, programs = HERE / "peers", environment.folder / "bin"
        subprocess.run([programs / "torch-model-archiver", "--model-name", model.name, "--version", "1.0",
                        "--serialized-file", model.file, "--handler", peers / "torchserve_handler.py", "--extra-files",
                        peers / "model_input.py", "--config-file", config, "--export-path", work / "store"],
                       env={**os.environ, **environment.variables()}, check=True, capture_output=True)
        ports = {name: free_port() for name in ("inference", "management", "metrics", "grpc_i", "grpc_m")}
        (work / "config.properties").write_text(
            "".join(f"{name}_address=http://127.0.0.1:{ports[name]}\n" for name in ("inference", "management", "metrics"))
            + f"grpc_inference_port={ports['grpc_i']}\ngrpc_management_port={ports['grpc_m']}\n")
        super().__init__("TorchServe", [
            programs / "torchserve", "--start", "--foreground", "--ncs", "--disable-token-auth", "--enable-model-api",
            "--ts-config", work / "config.properties", "--model-store", work / "store"],
            work / "log", environment.variables(), cwd=work)
        self._management = f"http://127.0.0.1:{ports['management']}"
        self.url = f"http://127.0.0.1:{ports['inference']}/predictions/{model.name}"
        self._registration = (f"{self._management}/models?url={model.name}.mar&initial_workers={workers}"
                              f"&synchronous=true&batch_size={batch_size}&max_batch_delay=1")

    def register(self) -> None:
        self.wait_until(lambda: try_call("GET", f"{self._management}/models"), 60)
        status, text = call("POST", self._registration, timeout=120)
        if status != 200:
            raise BenchError(f"TorchServe refused the model: {text.decode(errors='replace')[:300]}")


@contextlib.contextmanager
def torchserve(environment, work, model: Model, workers: int, threads=0, batch_size=8):
    with TorchServe(environment, work, model, workers, threads, batch_size) as server:
        server.register()
        yield server


@contextlib.contextmanager
def litserve(environment, work, model: Model, workers: int, threads: int):
    port = free_port()
    with Server("LitServe", [environment.python, "-B", HERE / "peers" / "litserve_app.py", model.file,
                             json.dumps(model.declarations), port, workers, threads, 8], work / "litserve.log") as server:
        server.url, server.form = f"http://127.0.0.1:{port}/predict", True
        yield server


@contextlib.contextmanager
def fastapi(environment, work, model: Model, workers: int, threads: int):
    port = free_port()
    variables = {"BENCH_MODEL": str(model.file), "BENCH_INPUTS": json.dumps(model.declarations),
                 "BENCH_THREADS": str(threads), "PYTHONDONTWRITEBYTECODE": "1"}
    with Server("FastAPI", [environment.python, "-m", "uvicorn", "fastapi_app:app", "--port", port, "--workers", workers,
                            "--no-access-log", "--log-level", "warning"],
                work / "fastapi.log", variables, cwd=HERE / "peers") as server:
        server.url = f"http://127.0.0.1:{port}/predict"
        yield server


PEERS = {"TorchServe": torchserve, "LitServe": litserve, "FastAPI": fastapi}


def seconds_to_first_answer(server: Server, model: Model, patience: float) -> float:
    """From the start of the process to the end of its first prediction."""
    server.wait_until(lambda: server.predict(model), patience, 0.002)
    return time.monotonic() - server.begin
