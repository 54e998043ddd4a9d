#!/usr/bin/env python3
"""Runs a program in the root file system of an image as a platform does: the image's user and environment, no rights to
gain, the file system read-only but for /tmp, PID 1 of its own. Call it in new namespaces, as root:

  unshare --net --mount container.py ROOT IMAGE_JSON [--bind FROM=TO] [--command TEXT]

IMAGE_JSON is what `buildah inspect --type image` prints.
"""

import argparse
import fcntl
import json
import os
import pathlib
import shlex
import socket
import struct
import subprocess
import sys

DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}


def loopback_up():
    """A new network namespace has only a loopback device, which is down."""
    SIOCSIFFLAGS, IFF_UP = 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


class Container:
    def __init__(self, root, image, binds=(), read_only=()):
        """`binds`: (folder here, folder there), writable; `read_only`: likewise, not writable."""
        self.root = pathlib.Path(root).resolve()
        self.config = json.loads(pathlib.Path(image).read_text())["Docker"]["config"]
        for source, target in [*binds, *read_only]:
            (self.root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for folder in ("proc", "dev", "tmp"):
            (self.root / folder).mkdir(exist_ok=True)
        mount("--bind", self.root, self.root)
        mount("-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "tmpfs", self.root / "tmp")
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", self.root / "dev")
        for name, (major, minor) in DEVICES.items():
            os.mknod(self.root / "dev" / name, 0o20666, os.makedev(major, minor))
            os.chmod(self.root / "dev" / name, 0o666)
        for source, target in [*binds, *read_only]:
            mount("--bind", pathlib.Path(source).resolve(), self.root / target.lstrip("/"))
        for _, target in read_only:
            mount("-o", "remount,bind,ro", self.root / target.lstrip("/"))
        mount("-o", "remount,bind,ro", self.root)

    @property
    def entry(self):
        return list(self.config.get("Entrypoint") or [])

    @property
    def user(self):
        return self.config.get("User", "") or "0:0"

    def command(self, arguments, environment=None, user=None):
        """The words that run `arguments` inside; for subprocess."""
        uid, _, gid = (user or self.user).partition(":")
        variables = [*self.config.get("Env", []), *(f"{key}={value}" for key, value in (environment or {}).items())]
        rights = ["setpriv", f"--reuid={uid}", f"--regid={gid or uid}", "--clear-groups", "--no-new-privs",
                  "--inh-caps=-all", "--bounding-set=-all", "--"]
        folder = self.config.get("WorkingDir") or "/"
        return ["unshare", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root}/proc", "chroot",
                str(self.root), *rights, "env", "-i", "-C", folder, *variables, *arguments]

    def run(self, arguments, **options):
        return subprocess.run(self.command(arguments, **options), capture_output=True, text=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("image")
    parser.add_argument("--bind", action="append", default=[], metavar="FROM=TO", help="a folder that may be written")
    parser.add_argument("--command", help="instead of the image's own entry point")
    options = parser.parse_args()
    loopback_up()
    container = Container(options.root, options.image, [bind.split("=", 1) for bind in options.bind])
    sys.exit(subprocess.run(container.command(shlex.split(options.command or "") or container.entry)).returncode)


if __name__ == "__main__":
    main()
