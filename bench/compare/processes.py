"""Processes of the benchmark: servers that are stopped whatever happens, free ports, memory, one-off HTTP calls."""
import contextlib
import ctypes
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import time


class BenchError(Exception):
    """Something that ends one part of the benchmark; its text is shown beside the part."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: even a killed benchmark leaves no server behind


def take_real_time_priority() -> bool:
    """For a load client that stands in for another machine: it gets a CPU whenever it wants one, so what it measures is the
    server. Also for what the process starts from now on. False: this process may not; it stays as it was."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


def may_take_real_time_priority() -> bool:
    if not take_real_time_priority():
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


def busy_share(seconds: float) -> float:
    """Which share of all CPUs' time is used, in the next so many seconds."""
    def read():
        ticks = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]  # idle and waiting for disks
    before = read()
    time.sleep(seconds)
    after = read()
    return 1 - (after[1] - before[1]) / max(1, after[0] - before[0])


class Process:
    """A program in a process group of its own with its output in a log. `with` stops the whole group at the end."""

    def __init__(self, name: str, command: list, log: pathlib.Path, env: dict | None = None, cwd=None):
        self.name, self.log, self.begin = name, log, time.monotonic()
        with log.open("wb") as output:
            self.popen = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output,
                                          stderr=subprocess.STDOUT, start_new_session=True, cwd=cwd,
                                          env={**os.environ, **(env or {})}, preexec_fn=_die_with_parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self) -> None:
        for sign, patience in ((signal.SIGTERM, 8), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(patience)
                break
        with contextlib.suppress(ProcessLookupError):  # children that outlived their parent
            os.killpg(self.popen.pid, signal.SIGKILL)

    def failure(self, what: str) -> BenchError:
        tail = self.log.read_text(errors="replace").strip().splitlines()[-6:]
        return BenchError(f"{self.name} {what}; its log ends with: " + " | ".join(tail)[-600:])

    def wait_until(self, ready, seconds: float, pause: float = 0.02):
        """What `ready()` returned once it was true."""
        while True:
            found = ready()
            if found:
                return found
            if self.popen.poll() is not None:
                raise self.failure(f"ended with exit code {self.popen.returncode}")
            if time.monotonic() - self.begin > seconds:
                raise self.failure(f"was not ready after {seconds:.0f} s")
            time.sleep(pause)

    def memory_mb(self) -> float:
        """Proportional set size of the group: pages that processes share count once. For one process, its resident set."""
        total = 0
        for folder in pathlib.Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            with contextlib.suppress(OSError, ValueError, IndexError):
                if os.getpgid(int(folder.name)) != self.popen.pid:
                    continue
                for line in (folder / "smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        return total / 1024


def call(method: str, url: str, body: bytes = b"", headers: dict | None = None, timeout: float = 60) -> tuple[int, bytes]:
    """Status and body of one request. Errors: OSError or HTTPException when there is no answer."""
    address, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request(method, "/" + path, body or None, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def try_call(*arguments, **options) -> tuple[int, bytes] | None:
    try:
        return call(*arguments, **options)
    except (OSError, http.client.HTTPException):
        return None


def cpu_flags() -> set[str]:
    """What the kernel says the CPU can do, empty where it says it otherwise than on x86."""
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()
