"""What the parts share: loads, figures, rows of the table, the in-process limit."""
import json
import pathlib
import statistics
import subprocess
import sys
import time

from processes import BenchError, take_real_time_priority
from servers import PEERS, BodyFloor, Echo, Flambeau, Model, default_workers


def numbers_of(answer: bytes) -> list[float]:
    """All numbers of a JSON answer, in their order."""
    def flatten(value):
        if isinstance(value, list):
            return [number for item in value for number in flatten(item)]
        return [float(value)]
    return flatten(json.loads(answer))


class Bench:
    """Figures of one run. `figures[model][server][connections]` is a list of load results, one for each round."""

    def __init__(self, options, programs: pathlib.Path, work: pathlib.Path, environment):
        self.options, self.programs, self.work, self.environment = options, programs, work, environment
        self.seconds, self.rounds = options.seconds, options.rounds
        self.archives = work / "archives"
        self.models: dict[str, Model] = {}
        self.figures, self.rows, self.notes, self.tuning, self.answers = {}, [], [], {}, {}
        self.part = ""
        self._begin = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self._begin

    def say(self, text: str) -> None:
        print(f"[{self.elapsed():6.1f} s] {text}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        self.say(text)
        self.notes.append(text)

    # --- servers ---

    def flambeau(self, model: Model, *flags, name="flambeau") -> Flambeau:
        return Flambeau(self.programs, self.work, self.archives, model, [*self.options.serve_flags, *flags], name)

    def echo(self, answer: bytes, threads=1) -> Echo:
        return Echo(self.programs, self.work, answer, threads)

    def body_floor(self, threads: int) -> BodyFloor:
        return BodyFloor(self.programs, self.work, threads)

    def has(self, peer: str) -> bool:
        return peer in self.options.peers and peer not in self.environment.missing

    def peer(self, name: str, model: Model, **setup):
        return PEERS[name](self.environment, self.work, model, **setup)

    def remember(self, server: Flambeau, model: Model) -> None:
        """Keeps the answer that every peer has to agree with."""
        self.answers[model.name] = numbers_of(server.predict(model))

    def peers(self, model: Model, connection_counts, seconds=None, after_each=lambda name: None) -> None:
        """Every peer that is there: one worker with all CPUs, one worker for each CPU, and TorchServe as shipped. The
        best of them counts. `after_each`: what to do as soon as the peer of this name has been measured in one way."""
        for name in filter(self.has, PEERS):
            for label, setup in self._setups(name):
                try:
                    with self.peer(name, model, **setup) as server:
                        self._check_answer(server, model)
                        for connections in connection_counts:
                            self.load(f"{name}, {label}", server, model, connections, seconds, warmup=1)
                except (BenchError, OSError, subprocess.CalledProcessError) as error:
                    self.note(f"{model.name}: {name}, {label}, is left out: {error}")
                else:
                    after_each(name)
            for connections in connection_counts:
                figures = self.figures.get(model.name, {})
                tried = [label for label in figures if label.startswith(f"{name}, ") and connections in figures[label]]
                if tried:
                    best = max(tried, key=lambda label: self.rate(model.name, label, connections))
                    figures.setdefault(name, {})[connections] = figures[best][connections]

    @staticmethod
    def _setups(peer: str):
        cpus = default_workers()
        yield "1 worker", {"workers": 1, "threads": cpus}
        if cpus > 1:
            yield f"{cpus} workers", {"workers": cpus, "threads": 1}
        if peer == "TorchServe":
            yield "as shipped", {"workers": 1, "batch_size": 1}

    def _check_answer(self, server, model: Model) -> None:
        found = numbers_of(server.wait_until(lambda: server.predict(model), 60, 0.1))
        wanted = self.answers[model.name]
        if len(found) != len(wanted) or any(abs(a - b) > 1e-3 + 1e-2 * abs(b) for a, b in zip(found, wanted)):
            raise BenchError(f"it answers {found[:4]}…, Flambeau {wanted[:4]}…")

    # --- loads ---

    def load_command(self, arguments: list) -> list:
        return [str(word) for word in (self.programs / "flambeau-load", "--json", *arguments)]

    def run_load(self, arguments: list, real_time=False) -> dict:
        """`real_time`: only for few requests a second; a busy client would leave the server no CPU."""
        result = subprocess.run(self.load_command(arguments), text=True, capture_output=True, check=False,
                                preexec_fn=take_real_time_priority if real_time else None)
        if not result.stdout:
            raise BenchError(f"flambeau-load: {result.stderr.strip()}")
        return json.loads(result.stdout)

    @staticmethod
    def check(result: dict, what: str) -> None:
        wrong = {status: count for status, count in result["statuses"].items() if not status.startswith("2")}
        errors = {name: count for name, count in result["errors"].items() if count}
        if wrong or errors or not result["statuses"]:
            raise BenchError(f"{what}: answers {result['statuses']}, errors {errors}")

    def load(self, label: str, server, model: Model, connections: int, seconds=None, rate=None, warmup=0.5,
             client_threads=1, brief=False) -> dict:
        """What the load client found. `brief`: of many short ones, no more is kept than the tables show."""
        arguments = [*server.load_arguments(model), "--connections", connections, "--warmup", warmup, "--duration",
                     seconds or self.seconds, "--timeout", 30, "--threads", client_threads,
                     *(["--rate", rate] if rate else [])]
        result = self.run_load(arguments)
        if server.popen.poll() is not None:
            raise server.failure(f"died under load with exit code {server.popen.returncode}")
        self.check(result, f"{label}, {model.name}")
        latency = result["latency_us"]
        shown = {"rate": result["rate"], "latency_us": {name: latency[name] for name in ("p50", "p99")}}
        self.figure(model.name, label, connections, shown if brief else result)
        self.say(f"{model.name}, {connections} connections, {label}: {result['rate']:.1f}/s, p50 {latency['p50']:.0f} µs, "
                 f"p99 {latency['p99']:.0f} µs")
        if result["client_cpu"] > 0.97 * client_threads:
            self.note(f"{model.name}, {label}: the load client used all that its threads can and may be the limit")
        return result

    def in_process(self, model: Model, batch: int, threads: int, variants: str) -> dict | None:
        """What libtorch alone does with the file: in_process.cc. None when that program was not built."""
        program = self.programs / "in_process"
        if not program.exists():
            self.note(f"{model.name}: no in-process limit, {program.name} is not built")
            return None
        inputs = [word for declaration in model.declarations for word in ("--input", declaration)]
        command = [program, "--model", model.file, *inputs, "--batch", batch, "--threads", threads,
                   "--variants", variants, "--seconds", 5 if variants == "all" else 3, "--json"]
        result = subprocess.run([str(word) for word in command], text=True, capture_output=True, check=False)
        if result.returncode:
            self.note(f"{model.name}: in_process failed: {result.stderr.strip()[-300:]}")
            return None
        found = json.loads(result.stdout[result.stdout.index("{"):])
        rates = ", ".join(f"{item['name']} {item['items_per_s']:.1f}" for item in found["variants"]
                          if item.get("items_per_s"))
        self.say(f"{model.name}, in process, items/s: {rates}")
        self.figure(model.name, f"in process, {variants}", 0, found)
        return found

    def machine_gaps(self) -> str:
        """How much of the time the machine takes a busy CPU away, in words: cpu_gaps.cc."""
        result = subprocess.run([self.programs / "cpu_gaps", "4"], text=True, capture_output=True, check=True)
        found = json.loads(result.stdout)
        self.say(f"the machine, all CPUs busy: {found}")
        return (f"the machine takes a busy CPU away {100 * found['lost_share']:.1f} % of the time, "
                f"for {found['longest_ms']:.1f} ms at most")

    def bare_start(self, found: dict) -> float:
        """Seconds from the start of a process to its first result: libtorch, the file, one run. What starting the program
        costs is measured without a file, when it ends at once."""
        times = []
        for _ in range(3):
            begin = time.monotonic()
            subprocess.run([self.programs / "in_process"], capture_output=True, check=False)
            times.append(time.monotonic() - begin)
        return statistics.median(times) + (found["load_ms"] + found["first_run_ms"]) / 1000

    # --- figures and rows ---

    def figure(self, model: str, label: str, connections: int, result: dict) -> None:
        self.figures.setdefault(model, {}).setdefault(label, {}).setdefault(connections, []).append(result)

    def results(self, model: str, label: str, connections: int) -> list:
        return self.figures.get(model, {}).get(label, {}).get(connections, [])

    def rate(self, model: str, label: str, connections: int) -> float:
        return statistics.median(result["rate"] for result in self.results(model, label, connections))

    def median(self, model: str, label: str, connections: int, percentile: str) -> float:
        return statistics.median(result["latency_us"][percentile] for result in self.results(model, label, connections))

    def row(self, case: str, aim: str, value: str, reached: bool | None) -> None:
        self.rows.append({"part": self.part, "case": case, "aim": aim, "value": value, "reached": reached})
        self.say(f"  {case}: {value} (aim {aim}) {'' if reached is None else 'reached' if reached else 'NOT REACHED'}")

    def ratio(self, case: str, ours: float, theirs: float, aim: float, slack: float = 0.0, beside="") -> None:
        """`slack` is what two measurements of the same thing differ by; `beside`, what else to know with the aim."""
        ratio = ours / theirs
        self.row(case, f"≥ {aim:g}{beside}", f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}", ratio >= aim - slack)

    def ratio_to_peer(self, case: str, model: str, peer: str, connections: int, aim: float, ours="Flambeau",
                      limit: tuple[str, float] | None = None) -> None:
        """`limit`: the name and the rate of what the row shows beside the aim."""
        if self.results(model, peer, connections):
            theirs = self.rate(model, peer, connections)
            beside = f"; {limit[0]}: {limit[1] / theirs:.2f}" if limit else ""
            self.ratio(case, self.rate(model, ours, connections), theirs, aim, beside=beside)
        if self.results(model, f"{peer}, as shipped", connections):
            self.ratio(f"{case}, as it is shipped", self.rate(model, ours, connections),
                       self.rate(model, f"{peer}, as shipped", connections), aim)
