#!/usr/bin/env python3
"""Makes the tree of the serving image, moves it, and lets the server in it predict.

Usage: tree_test.py TREE RELEASE LIBTORCH MODELS FOLDER
"""

import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

TREE, RELEASE, LIBTORCH, MODELS, FOLDER = sys.argv[1:]
# What a tree leaves to the system: libc6, libgcc-s1 and libstdc++6.
OF_SYSTEM = ("ld-linux", "libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libresolv.so", "libgcc_s.so",
             "libstdc++.so", "libnss_")


def wait_for(what, condition, server, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if server.poll() is not None:
            sys.exit(f"the server ended with {server.returncode} before there was {what}")
        if time.monotonic() > end:
            sys.exit(f"no {what} within {seconds} s")
        time.sleep(0.02)


def call(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read().decode()


def ask(moved, work):
    """Starts the moved server with one model, asks it, and returns the files that it has mapped."""
    store = work / "store"
    store.mkdir()
    shutil.copy(pathlib.Path(MODELS, "mlp.pt"), store)
    ports = work / "ports"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LD_", "FLAMBEAU_", "TS_"))}
    environment.pop("PORT", None)
    server = subprocess.Popen(
        [moved / "usr/local/bin/flambeau", "serve", "--config", moved / "etc/flambeau/config.properties",
         "--model-store", store, "--models", "mlp.pt", "--port-file", ports,
         "--inference-address", "http://127.0.0.1:0",
         "--management-address", "http://127.0.0.1:0", "--metrics-address", "http://127.0.0.1:0", "--tuning", "off"],
        cwd="/", env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for("a port file", ports.exists, server)
        port = int(dict(line.split("=", 1) for line in ports.read_text().split())["inference"])
        wait_for("a healthy ping", lambda: call(port, "GET", "/ping")[0] == 200, server)
        status, body = call(port, "POST", "/predictions/mlp", json.dumps([0.5] * 64))
        assert status == 200, f"the prediction was answered {status}: {body}"
        lines = pathlib.Path(f"/proc/{server.pid}/maps").read_text().splitlines()
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=60)
    finally:
        server.kill()
    assert server.returncode == 0, f"SIGTERM: exit code {server.returncode}\n{err}"
    for line in (out + err).splitlines():
        json.loads(line)  # the image's settings ask for one object a line
    return {line.split(maxsplit=5)[5] for line in lines if "/" in line}


def check_licences(tree):
    """Ours, of what is compiled in, and of libtorch as far as its folder has them."""
    folder = tree / "usr/local/share/doc/flambeau"
    assert (folder / "LICENSE").is_file(), "no licence of Flambeau"
    archive = pathlib.Path("/usr/share/doc/libarchive-dev/copyright")
    if archive.exists():
        assert (folder / "libarchive-dev/copyright").read_bytes() == archive.read_bytes(), "no licence of libarchive"
    there = pathlib.Path(LIBTORCH)
    for text in [*there.glob("LICENSE*"), *there.glob("licenses/**/LICENSE*")]:
        copied = folder / "libtorch" / text.relative_to(there)
        assert copied.is_file() and copied.read_bytes() == text.read_bytes(), f"{copied} is not {text}"


def main():
    work = pathlib.Path(FOLDER)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        subprocess.run([TREE, work / "made here", "--release", RELEASE, "--libtorch", LIBTORCH, "--self-contained"],
                       check=True)
        moved = work / "moved to"
        (work / "made here").rename(moved)
        check_licences(moved)
        mapped = ask(moved, work)
        libraries = [pathlib.Path(path) for path in mapped if ".so" in path]
        assert any(path.name == "libtorch_cpu.so" for path in libraries), f"no libtorch among {libraries}"
        strange = [str(path) for path in libraries
                   if moved.resolve() not in path.parents and not path.name.startswith(OF_SYSTEM)]
        assert not strange, f"not taken from the tree: {strange}"
        unused = [path.name for path in moved.rglob("libicudata.so*")]
        assert not unused, f"{unused}: 30 MB of tables that nothing uses; see cmake/Archive.cmake"
        for name in ("flambeau", "torchserve", "torch-model-archiver"):
            subprocess.run([moved / "usr/local/bin" / name, "--help"], check=True, stdout=subprocess.DEVNULL)
        again = subprocess.run([TREE, moved, "--release", RELEASE], capture_output=True, text=True)
        assert again.returncode == 1 and "is not empty" in again.stderr, again.stderr
        print(f"{len(libraries)} libraries, all from the tree or from every Debian")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
