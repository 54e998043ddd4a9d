"""What is measured, part by part. A part gets the Bench, measures, and adds figures and rows (bench.py)."""
import contextlib
import json
import statistics
import subprocess
import time

from bench import Bench
from processes import cpu_flags, may_take_real_time_priority
from servers import default_workers, seconds_to_first_answer

ECHO_PAIRS = 24  # of short loads, the echo and Flambeau
LOG_PAIRS = 48   # without access log and metrics, and with
NOOP_TURNS = 16  # the echo, a loop that only receives, Flambeau


def _median(loads: list[dict], percentile: str) -> float:
    return statistics.median(load["latency_us"][percentile] for load in loads)


def _in_turn(bench: Bench, model, turns: int, connections: int, servers: dict, **load) -> list[tuple[float, float]]:
    """The rates of `servers`, each a label and a server, over that of the first: the median of short turns, each judged by
    itself, and its standard error. What is looked for is smaller than what a machine varies in seconds."""
    ratios = []
    for _ in range(turns):
        base, *rates = (bench.load(label, server, model, connections, warmup=0.1, brief=True, **load)["rate"]
                        for label, server in servers.items())
        ratios.append([rate / base for rate in rates])
    return [(statistics.median(one), 1.25 * statistics.stdev(one) / turns ** 0.5) for one in zip(*ratios)]


# --- small models: what is left is the socket ---

def mlp(bench: Bench) -> None:
    model = bench.models["mlp"]
    with bench.flambeau(model) as ours, bench.flambeau(model, "--access-log", "false", "--enable-metrics-api", "false",
                                                       name="quiet") as quiet:
        for server in (ours, quiet):
            server.register(model, "single", batch_size=1)
        bench.remember(ours, model)
        with bench.echo(ours.predict(model)) as echo:
            for _ in range(bench.rounds):
                for connections in (1, 32):
                    bench.load("Beast echo", echo, model, connections)
                    bench.load("Flambeau", ours, model, connections)
                bench.load("Flambeau, batch 1", ours.use("single"), model, 32)
                ours.use("mlp")
            rate = bench.rate("mlp", "Flambeau", 32)
            at_70, echo_at_70 = [], []
            for _ in range(bench.rounds):
                at_70.append(bench.load("Flambeau, open loop at 70 %", ours, model, 32, rate=0.7 * rate))
                echo_at_70.append(bench.load("Beast echo at that rate", echo, model, 32, rate=0.7 * rate))
            [(of_echo, of_echo_error)] = _in_turn(
                bench, model, ECHO_PAIRS, 32, {"Beast echo, short": echo, "Flambeau, short": ours}, seconds=0.25)
        gaps = bench.machine_gaps()
        [(kept, kept_error)] = _in_turn(
            bench, model, LOG_PAIRS, 32,
            {"Flambeau, log and metrics off": quiet, "Flambeau, log and metrics on": ours}, seconds=0.25)
        bench.tuning["mlp"] = ours.describe("mlp").get("tuning")
    in_process = bench.in_process(model, batch=1, threads=1, variants="plain")
    bench.peers(model, (1, 32))

    bench.row(f"MLP, 32 connections: of the echo's rate, median of {ECHO_PAIRS} pairs", "≥ 0.8",
              f"{of_echo:.2f} ± {of_echo_error:.2f}", of_echo >= 0.80)
    bench.ratio_to_peer("MLP, 32 connections: times TorchServe", "mlp", "TorchServe", 32, 60)
    p50 = bench.median("mlp", "Flambeau", 1, "p50")
    echo_p50 = bench.median("mlp", "Beast echo", 1, "p50")
    if in_process:
        limit = echo_p50 + 1e6 / in_process["variants"][0]["items_per_s"] + 50
        bench.row("MLP, 1 connection: p50", f"≤ {limit:.0f} µs (echo {echo_p50:.0f} + in process + 50)",
                  f"{p50:.0f} µs", p50 <= limit)
    else:
        bench.row("MLP, 1 connection: p50", f"≤ echo ({echo_p50:.0f} µs) + in process + 50 µs", f"{p50:.0f} µs", None)
    p99, p50 = _median(at_70, "p99"), _median(at_70, "p50")
    echo_p99, echo_p50 = _median(echo_at_70, "p99"), _median(echo_at_70, "p50")
    bench.row("MLP, open loop at 70 % of the maximum: p99",
              f"≤ 5 × p50 ({p50:.0f} µs); the echo at this rate: {echo_p99:.0f} µs, {echo_p99 / echo_p50:.1f} ×; {gaps}",
              f"{p99:.0f} µs, {p99 / p50:.1f} ×", p99 <= 5 * p50)
    cost = 1 - kept
    bench.row(f"MLP, 32 connections: cost of metrics and access log, median of {LOG_PAIRS} pairs", "≤ 1 %",
              f"{100 * cost:.1f} ± {100 * kept_error:.1f} %", cost <= 0.01)
    bench.ratio("MLP, 32 connections: batching against batch 1", rate, bench.rate("mlp", "Flambeau, batch 1", 32), 1.0,
                slack=0.02)


def noop(bench: Bench) -> None:
    """Everything with one thread for each CPU, the client too: one thread of it can send no more than the echo takes."""
    model = bench.models["noop"]
    cpus = default_workers()
    with bench.flambeau(model) as ours:
        ours.settle("noop")
        with bench.echo(ours.predict(model), cpus) as echo, bench.body_floor(cpus) as floor:
            (limit, limit_error), (ratio, error) = _in_turn(
                bench, model, NOOP_TURNS, 8,
                {"Beast echo": echo, "a loop that only receives": floor, "Flambeau": ours},
                seconds=0.4, client_threads=cpus)
    bench.row(f"noop, 602 KB in, 8 connections: times the string_body echo, median of {NOOP_TURNS} turns",
              f"≥ 2; a loop that only receives: {limit:.2f} ± {limit_error:.2f}", f"{ratio:.2f} ± {error:.2f}", ratio >= 2)


# --- larger models: nothing more than libtorch ---

def resnet18(bench: Bench) -> None:
    _large(bench, "resnet18", "ResNet-18, 602 KB, 8 connections", 2.0, 7.0)


def encoder(bench: Bench) -> None:
    _large(bench, "encoder", "encoder, 8 connections", 1.35, 2.4)


def _large(bench: Bench, name: str, title: str, aim: float, amx_aim: float) -> None:
    model = bench.models[name]
    limit = bench.in_process(model, batch=8, threads=default_workers(), variants="all")
    units = [unit for unit in ("amx_bf16", "avx512_bf16") if unit in cpu_flags()]
    seconds = 2 * bench.seconds
    with contextlib.ExitStack() as servers:  # idle ones cost nothing
        ours = servers.enter_context(bench.flambeau(model))
        ours.register(model, "single", batch_size=1)
        bench.remember(ours, model)
        bf16 = None
        if units:
            bf16 = servers.enter_context(bench.flambeau(model, "--precision", "bf16", name="bf16")).settle(name)
        # All in turn, peers too: a shared machine becomes a fifth slower or faster within a minute.
        for _ in range(bench.rounds):
            bench.load("Flambeau", ours.use(name), model, 8, seconds)
            if limit:
                again = bench.in_process(model, batch=8, threads=default_workers(), variants=limit["best"])
                bench.figure(name, "in process, best", 8, {"rate": again["best_items_per_s"]})
            bench.load("Flambeau, batch 1", ours.use("single"), model, 8, seconds)
            if bf16:
                bench.load("Flambeau, bf16", bf16, model, 8, seconds)
        ours.use(name)

        def again_beside(peer: str) -> None:
            if peer == "TorchServe":
                bench.load("Flambeau", ours, model, 8, seconds)

        bench.peers(model, (8,), seconds, again_beside)
        bench.tuning[name] = ours.describe(name).get("tuning")
        if bf16:
            bench.tuning[f"{name}, bf16"] = bf16.describe(name).get("tuning")
    rate = bench.rate(name, "Flambeau", 8)
    best = ("libtorch's best in process", bench.rate(name, "in process, best", 8)) if limit else None
    if best:
        bench.ratio(f"{title}: of the best in process ({limit['best']})", rate, best[1], 0.97)
    bench.ratio_to_peer(f"{title}: times TorchServe, fp32", name, "TorchServe", 8, aim, limit=best)
    if "amx_bf16" in units:
        bench.ratio_to_peer(f"{title}: times TorchServe, bf16 with AMX", name, "TorchServe", 8, amx_aim, "Flambeau, bf16")
    elif units:
        bf16_rate = bench.rate(name, "Flambeau, bf16", 8)
        beside = f"; times {best[0]}, fp32: {bf16_rate / best[1]:.2f}" if best else ""
        bench.ratio(f"{title}: bf16 with AVX512, times fp32", bf16_rate, rate, 1.5, beside=beside)
    bench.ratio(f"{title}: batching against batch 1", rate, bench.rate(name, "Flambeau, batch 1", 8), 1.0, slack=0.02)


# --- start and memory ---

def start(bench: Bench) -> None:
    for name in ("mlp", "encoder"):
        model = bench.models[name]
        ours = []
        for _ in range(5):
            with bench.flambeau(model) as server:
                ours.append(seconds_to_first_answer(server, model, 120))
        seconds = statistics.median(ours)
        bench.say(f"{name}: Flambeau's first prediction after {1000 * seconds:.0f} ms")
        bench.figure(name, "start, Flambeau", 0, {"seconds": seconds})
        alone = bench.in_process(model, batch=1, threads=default_workers(), variants="plain")
        if alone:
            bare = bench.bare_start(alone)
            bench.figure(name, "start, in process", 0, {"seconds": bare})
            bench.row(f"{name}: start to first prediction", f"≤ {1000 * bare + 100:.0f} ms (in process + 100 ms)",
                      f"{1000 * seconds:.0f} ms", seconds <= bare + 0.1)
        if bench.has("TorchServe"):
            with bench.peer("TorchServe", model, workers=1) as server:
                theirs = seconds_to_first_answer(server, model, 120)
            bench.say(f"{name}: TorchServe's after {1000 * theirs:.0f} ms")
            bench.figure(name, "start, TorchServe", 0, {"seconds": theirs})
            bench.ratio(f"{name}: start to first prediction, times faster than TorchServe", theirs, seconds, 4.0)


def memory(bench: Bench) -> None:
    model = bench.models["encoder"]
    with bench.flambeau(model, "--default-workers-per-model", "4") as server:
        server.settle("encoder")
        bench.load("Flambeau, 4 workers", server, model, 8)
        ours = server.memory_mb()
    bench.figure("encoder", "memory, Flambeau", 0, {"mb": ours})
    alone = bench.in_process(model, batch=8, threads=default_workers(), variants="plain")
    if alone:
        bench.figure("encoder", "memory, in process", 0, {"mb": alone["rss_mb"]})
        bench.row("encoder, 4 workers: resident memory", f"≤ {alone['rss_mb'] + 40:.0f} MB (in process + 40)",
                  f"{ours:.0f} MB", ours <= alone["rss_mb"] + 40)
    if bench.has("TorchServe"):
        with bench.peer("TorchServe", model, workers=4, threads=1) as server:
            bench.load("TorchServe, 4 workers", server, model, 8)
            theirs = server.memory_mb()
        bench.figure("encoder", "memory, TorchServe", 0, {"mb": theirs})
        bench.row("encoder, 4 workers: resident memory beside TorchServe's", "less", f"{ours:.0f} against {theirs:.0f} MB",
                  ours < theirs)


def soak(bench: Bench) -> None:
    """Bodies of 1 to 32 rows, in turn: memory after the first requests and after all."""
    model = bench.models["mlp"]
    first, total = bench.options.soak_requests // 20, bench.options.soak_requests
    bodies = []
    for rows in (1, 2, 1, 8, 1, 4, 1, 32):
        file = bench.work / f"soak{rows}.body"
        file.write_text(json.dumps([[round(0.001 * (i + row), 3) for i in range(64)] for row in range(rows)]))
        bodies += ["--body", file]
    with bench.flambeau(model) as server:
        server.settle("mlp")
        arguments = ["--url", server.url, "--header", "Content-Type: application/json", *bodies]
        seen = []
        for count in (first, total - first):
            result = bench.run_load([*arguments, "--connections", 32, "--duration", 1800, "--requests", count])
            bench.check(result, "soak")
            time.sleep(1)
            seen.append(server.memory_mb())
            bench.say(f"soak: {count} requests more, {result['rate']:.0f}/s: {seen[-1]:.1f} MB")
    growth = seen[1] / seen[0] - 1
    bench.figure("mlp", "soak", 32, {"first_mb": seen[0], "last_mb": seen[1], "first": first, "total": total})
    bench.row(f"MLP, bodies of 1 to 32 rows: memory after {total:,} requests over that after {first:,}", "≤ 2 %",
              f"{100 * growth:.1f} % ({seen[0]:.1f} → {seen[1]:.1f} MB)", growth <= 0.02)


# --- overload ---

def overload(bench: Bench) -> None:
    name = bench.options.overload_model
    model, small = bench.models[name], bench.models["mlp"]
    with bench.flambeau(model) as server:
        server.register(small, "beside", small.batch_size)
        calm = bench.load("Flambeau, before the overload", server, model, 1)
        capacity = bench.load("Flambeau, capacity", server, model, 32, seconds=2 * bench.seconds, warmup=1)["ok_rate"]
        deadline = max(2.0, 150 / capacity)  # a full queue (100 requests) takes less
        memory_before = server.memory_mb()
        hot = _overload(bench, server, model, capacity, deadline, bench.options.overload_seconds)
        after = bench.load("Flambeau, just after the overload", server, model, 1, seconds=1, warmup=0)
        time.sleep(1)
        memory_after = server.memory_mb()
        capacity_after = bench.load("Flambeau, capacity", server, model, 32, 2 * bench.seconds, warmup=1)["ok_rate"]
        (alone, crowded), (echo_alone, echo_crowded) = _beside(bench, server, model, small, capacity, deadline)
    gaps = bench.machine_gaps()
    if not may_take_real_time_priority():
        gaps += "; the client waits for a CPU as well, since it may not take real-time priority"

    title = f"{name} at 2 × capacity"
    bench.ratio(f"{title}: goodput over capacity, mean of before and after", hot["ok_rate"],
                (capacity + capacity_after) / 2, 0.95)
    p99 = hot["latency_us"]["p99"] / 1e6
    bench.row(f"{title}: p99 of the accepted", f"≤ their deadline, {deadline:.1f} s", f"{p99:.2f} s", p99 <= deadline)
    refused, told = hot["refused_latency_us"], hot["retry_after"]
    if refused["count"]:
        bench.row(f"{title}: refusals", "p50 < 1 ms", f"p50 {refused['p50'] / 1000:.2f} ms, "
                  f"p99 {refused['p99'] / 1000:.2f} ms", refused["p50"] < 1000)
        bench.row(f"{title}: refusals with Retry-After", "all", f"{told['count']} of {refused['count']}, "
                  f"{told['min_s']} to {told['max_s']} s", told["count"] == refused["count"])
    else:
        bench.row(f"{title}: refusals", "p50 < 1 ms", f"none; answers {hot['statuses']}", False)
    growth = memory_after / memory_before - 1
    bench.row(f"{title}: memory after it over that before", "≤ 5 %",
              f"{100 * growth:.1f} % ({memory_before:.0f} → {memory_after:.0f} MB)", growth <= 0.05)
    calm_p50, after_p50 = calm["latency_us"]["p50"], after["latency_us"]["p50"]
    bench.row(f"{name}, in the second after: p50 over that before", "≤ 1.25", f"{after_p50 / calm_p50:.2f}",
              after_p50 <= 1.25 * calm_p50)
    bench.row(f"MLP at 500/s beside {title}: p99 over that alone",
              f"≤ 2; a process with the echo beside it: {echo_crowded / echo_alone:.1f} "
              f"({echo_alone / 1000:.2f} → {echo_crowded / 1000:.2f} ms); {gaps}",
              f"{crowded / alone:.1f} ({alone / 1000:.2f} → {crowded / 1000:.2f} ms)", crowded <= 2 * alone)


def _overload_arguments(server, model, capacity: float, deadline: float, seconds: float) -> list:
    rate = 2 * capacity
    connections = int(min(800, max(64, 2 * rate * deadline)))  # as many as may wait at the server, and twice that
    return [*server.load_arguments(model), "--header", f"X-Request-Timeout-Ms: {1000 * deadline:.0f}", "--connections",
            connections, "--rate", rate, "--duration", seconds, "--timeout", 2 * deadline, "--warmup", 2]


def _overload(bench: Bench, server, model, capacity, deadline, seconds) -> dict:
    hot = bench.run_load(_overload_arguments(server, model, capacity, deadline, seconds))
    bench.figure(model.name, "Flambeau, offered 2 × capacity", hot["connections"], hot)
    bench.say(f"{model.name}: capacity {capacity:.1f}/s, offered {hot['target_rate']:.1f}/s, 2xx {hot['ok_rate']:.1f}/s, "
              f"answers {hot['statuses']}, unsent {hot['unsent']}, errors {hot['errors']}")
    return hot


def _beside(bench: Bench, server, model, small, capacity, deadline) -> list[tuple[float, float]]:
    """p99 at a fixed rate in µs, alone and while the large model is overloaded: of a small model, and of the echo, to
    which nothing but the machine's scheduler stands in the way."""
    seconds = bench.rounds * 2 * (bench.seconds + 1) + 2
    command = bench.load_command(_overload_arguments(server, model, capacity, deadline, seconds))
    urls = {"Flambeau": f"{server.address('inference')}/predictions/beside"}
    loads = {}
    with bench.echo(b"[0.25, 0.25, 0.25, 0.25]") as echo:
        urls["Beast echo"] = echo.url

        def run(where: str, warmup: float) -> None:
            for _ in range(bench.rounds):
                for name, url in urls.items():
                    found = bench.run_load(["--url", url, "--body", small.body_file, "--header",
                                            f"Content-Type: {small.content_type}", "--connections", 8, "--rate", 500,
                                            "--duration", bench.seconds, "--warmup", warmup], real_time=True)
                    bench.figure(small.name, f"{name} at 500/s, beside {where}", 8, found)
                    loads.setdefault((name, where), []).append(found)

        run("nothing", 0.5)
        crowd = f"{model.name} at 2 × capacity"
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
            try:
                time.sleep(2)
                run(crowd, 0)
                running.wait(seconds + 60)
            finally:
                running.kill()
    return [(_median(loads[name, "nothing"], "p99"), _median(loads[name, crowd], "p99")) for name in urls]


PARTS = {"mlp": mlp, "noop": noop, "resnet18": resnet18, "encoder": encoder, "start": start, "memory": memory,
         "overload": overload, "soak": soak}
DEFAULT_PARTS = [name for name in PARTS if name != "soak"]
