"""compare.md, compare.json and compare.svg of a Bench."""
import datetime
import html
import json
import os
import pathlib
import platform
import statistics
import subprocess

from processes import cpu_flags
from servers import PEERS

# Bars of the chart: server, colour.
BARS = {"Beast echo": "#9aa0a6", "in process, best": "#9aa0a6", "Flambeau": "#d9480f", "TorchServe": "#4c6ef5",
        "LitServe": "#7950f2", "FastAPI": "#12b886"}
PANELS = (("mlp", 1), ("mlp", 32), ("resnet18", 8), ("encoder", 8), ("noop", 8))


def write(bench, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(bench)
    document = {"machine": machine, "rows": bench.rows, "notes": bench.notes, "tuning": bench.tuning,
                "figures": bench.figures}
    (folder / "compare.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    (folder / "compare.md").write_text(markdown(bench, machine))
    (folder / "compare.svg").write_text(chart(bench))


def describe_machine(bench) -> dict:
    info = pathlib.Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in info.split("\n\n")[0].splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in cpu_flags()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    revision = subprocess.run(["git", "-C", pathlib.Path(__file__).parent, "rev-parse", "--short", "HEAD"], text=True,
                              capture_output=True, check=False).stdout.strip()
    return {"cpu": fields.get("model name", platform.machine()), "cpus": len(os.sched_getaffinity(0)),
            "instructions": known, "memory_gb": round(memory), "kernel": platform.release(),
            "date": datetime.date.today().isoformat(), "revision": revision, "versions": bench.environment.versions(),
            "seconds": bench.seconds, "rounds": bench.rounds}


def markdown(bench, machine: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = ["# Flambeau beside its limits and its peers", "",
             f"`./run bench compare` on {machine['date']}, revision {machine['revision']}: {machine['cpu']}, "
             f"{machine['cpus']} CPUs ({', '.join(machine['instructions'])}), {machine['memory_gb']} GB, "
             f"Linux {machine['kernel']}; {versions}. Servers and load client share the machine; "
             f"medians of {machine['rounds']} rounds of {machine['seconds']:g} s for Flambeau and its limits, the best of one "
             "worker, one for each CPU and, for TorchServe, what it is shipped with, for each peer. It took "
             f"{bench.elapsed() / 60:.1f} minutes. What counts are the ratios of this one run.", ""]
    if bench.rows:
        lines += ["| case | aim | measured | reached |", "|-|-|-|-|"]
        for row in bench.rows:
            reached = {True: "yes", False: "**no**", None: "-"}[row["reached"]]
            lines.append(f"| {row['case']} | {row['aim']} | {row['value']} | {reached} |")
        lines.append("")
    table = list(figures_table(bench))
    if table:
        lines += ["## Figures", "", "![requests a second](compare.svg)", "",
                  "| model | connections | server | requests/s | p50 µs | p99 µs |", "|-|-|-|-|-|-|", *table, ""]
    chosen = {name: value for name, value in bench.tuning.items() if value}
    if chosen:
        lines += ["## What the tuner chose", "", "```json", json.dumps(chosen, indent=1), "```", ""]
    if bench.notes:
        lines += ["## Notes", "", *(f"- {note}" for note in bench.notes), ""]
    return "\n".join(lines)


def figures_table(bench):
    for model, servers in bench.figures.items():
        for server, by_connections in servers.items():
            if server in PEERS:  # the best of its setups, which have lines of their own
                continue
            for connections, results in sorted(by_connections.items()):
                if "latency_us" not in results[0]:
                    if "rate" in results[0]:
                        rate = statistics.median(result["rate"] for result in results)
                        yield f"| {model} | - | {server} | {rate:,.1f} | - | - |"
                    continue
                rate, p50, p99 = (statistics.median(values) for values in zip(*(
                    (result["rate"], result["latency_us"]["p50"], result["latency_us"]["p99"]) for result in results)))
                yield f"| {model} | {connections} | {server} | {rate:,.1f} | {p50:,.0f} | {p99:,.0f} |"


def chart(bench) -> str:
    """One panel of bars for each model and number of connections, each with a scale of its own."""
    width, bar, label_width = 760, 22, 150
    parts, y = [], 16
    for model, connections in PANELS:
        bars = [(server, statistics.median(result["rate"] for result in bench.results(model, server, connections)))
                for server in BARS if bench.results(model, server, connections)]
        if not bars:
            continue
        y += 24
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{model}, {connections} '
                     f'connection{"s" if connections > 1 else ""}: requests/s</text>')
        y += 10
        largest = max(rate for _, rate in bars)
        for server, rate in bars:
            length = max(1.0, (width - label_width - 130) * rate / largest)
            parts.append(f'<text x="{label_width - 6}" y="{y + 15}" text-anchor="end">{html.escape(server)}</text>'
                         f'<rect x="{label_width}" y="{y + 3}" width="{length:.1f}" height="{bar - 6}" rx="2" '
                         f'fill="{BARS[server]}"/>'
                         f'<text x="{label_width + length + 6:.1f}" y="{y + 15}">{rate:,.0f}</text>')
            y += bar
    height = y + 16
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'font-family="sans-serif" font-size="13"><rect width="{width}" height="{height}" fill="white"/>\n'
            + "\n".join(parts) + "\n</svg>\n")
