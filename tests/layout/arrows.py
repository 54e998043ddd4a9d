#!/usr/bin/env python3
"""Checks every #include of our sources against arrows.txt: the arrows between rooms, the walls around libraries.

Usage: arrows.py [ROOT]    ROOT: the repository (default) or another tree with tests/layout/arrows.txt
"""

import fnmatch
import pathlib
import re
import sys

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
SCANNED = ("serve", "handlers", "model_store", "trainer", "tools", "bench")
OPEN_TO_ALL = "serve/base"


def read_rules(path):
    """The arrows {room: allowed patterns}, the walls [(header prefix, rooms)], and what is wrong with the file."""
    arrows, walls, problems = {}, [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        left, colon, right = line.partition(":")
        if not colon:
            problems.append(f"{path}:{number}: expected `left : right`, found `{line}`")
        elif left.startswith("<"):
            walls += [(prefix[1:], right.split()) for prefix in left.split()]
        else:
            arrows.setdefault(left.strip(), []).extend(right.split())
    return arrows, walls, problems


def inside(path, pattern):
    """Whether the file `path` is `pattern` or lies in the folder `pattern`; `*` in it stands for one name."""
    names, wanted = path.split("/"), pattern.split("/")
    return len(names) >= len(wanted) and all(map(fnmatch.fnmatchcase, names, wanted))


def room_of(path, arrows):
    """The room of a file: the longest line of arrows.txt that covers it, or None."""
    return max((room for room in arrows if inside(path, room)), key=len, default=None)


def cycle(arrows):
    """Rooms that include each other in a ring, or None. A permission for single files is no arrow."""
    done, trail = set(), []

    def visit(room):
        if room in trail:
            return trail[trail.index(room):] + [room]
        if room in done:
            return None
        trail.append(room)
        for other in arrows:
            if other != room and any(inside(other, pattern) for pattern in arrows[room]):
                found = visit(other)
                if found:
                    return found
        trail.pop()
        done.add(room)
        return None

    return next(filter(None, map(visit, arrows)), None)


def check_include(root, path, room, mark, header, arrows, walls):
    """What is wrong with one include of the file `path`, or None."""
    if mark == "<":
        if header.split("/")[0] in SCANNED:
            return f'write our own header in quotes: "{header}"'
        for prefix, rooms in walls:
            if header.startswith(prefix) and not any(inside(path, allowed) for allowed in rooms):
                return f"<{header}> stays behind its wall: only {' '.join(rooms)} may include <{prefix}…>"
        return None
    if not (root / header).is_file():
        return f'"{header}" is no file below the repository root, where our includes start'
    target = room_of(header, arrows)
    if target in (room, OPEN_TO_ALL) or any(inside(header, allowed) for allowed in arrows[room]):
        return None
    allowed = " ".join([OPEN_TO_ALL, *arrows[room]])
    return f'"{header}" breaks an arrow: {room} may include {allowed}'


def check(root):
    arrows, walls, problems = read_rules(root / "tests/layout/arrows.txt")
    problems += [f"arrows.txt names {room}, which does not exist" for room in arrows if not (root / room).exists()]
    ring = cycle(arrows)
    if ring:
        problems.append("arrows.txt allows a ring: " + " -> ".join(ring))
    files = sorted(file for folder in SCANNED for file in (root / folder).rglob("*") if file.suffix in (".h", ".cc"))
    for file in files:
        path = file.relative_to(root).as_posix()
        room = room_of(path, arrows)
        if room is None:
            problems.append(f"{path}:1: belongs to no room of arrows.txt")
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            found = INCLUDE.match(line)
            wrong = found and check_include(root, path, room, found[1], found[2], arrows, walls)
            if wrong:
                problems.append(f"{path}:{number}: {wrong}")
    return len(files), problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]).resolve()
    count, problems = check(root)
    print(*problems, f"{count} files, {len(problems)} problems", sep="\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
