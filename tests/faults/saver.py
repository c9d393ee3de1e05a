"""A small process without threads that forks writers and kills them; its argument says which, stdout says what was found.

A writer says ``started`` before a save and ``saved`` after it, as one byte each, so that a kill can be aimed at the middle.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from privlab.encryption import SealedVault
from privlab.encryption.keybook import Keybook, NamedKey, create_key, rotate_key
from privlab.encryption.sealing import lock_of

SIZE = 1_500_000
FILES = 8


def content(version: int) -> bytes:
    return version.to_bytes(8, "big") * (SIZE // 8)


def fork(work: Callable[[Callable[[], None]], None]) -> tuple[int, int]:
    """Start ``work`` in a child, which calls what it is given to tick; returns its process id and where ticks come from."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    status = 1
    try:
        os.close(reader)
        work(lambda: os.write(writer, b"."))
        status = 0
    finally:
        os._exit(status)


def kill_after(child: int, reader: int, ticks: int, delay: float) -> int:
    """Kill ``child`` so many seconds after its tick number ``ticks``; returns how many it made in all."""
    made = 0
    while made < ticks:
        made += len(os.read(reader, 1))
    until = time.monotonic() + delay
    while (left := until - time.monotonic()) > 0:
        if select.select([reader], [], [], left)[0]:
            more = os.read(reader, 1000)
            if not more:
                break
            made += len(more)
    os.kill(child, signal.SIGKILL)
    while more := os.read(reader, 1000):
        made += len(more)
    os.close(reader)
    os.waitpid(child, 0)
    return made


def saves(home: Path, rounds: int, draw: random.Random) -> dict[str, int]:
    """Kill a writer in each round; the file must hold what was last said to be saved, or what was being saved."""
    create_key("lab")
    path, vault = home / "file", SealedVault(NamedKey("lab"))
    began = time.monotonic()
    for version in range(3):
        vault.write(path, content(version))
    usual = (time.monotonic() - began) / 3
    version, halves, new = 2, 0, 0
    for _ in range(rounds):
        first = version + 1

        def write(tick: Callable[[], None], first: int = first) -> None:
            for number in range(first, first + 1000):
                tick()
                vault.write(path, content(number))
                tick()

        child, reader = fork(write)
        made = kill_after(child, reader, 1, draw.uniform(0, 1.3 * usual))
        saved, begun = version + made // 2, version + (made + 1) // 2
        halves += any(path.parent.glob(".file.*.part"))
        data = vault.read(path)
        version = int.from_bytes(data[:8], "big")
        assert saved <= version <= begun, (saved, version, begun)
        assert data == content(version)
        new += version > saved
    return {"rounds": rounds, "halves": halves, "new": new}


def rotations(home: Path, rounds: int, draw: random.Random) -> dict[str, int]:
    """Kill a rotation in each round, and look at every file; then finish it."""
    create_key("lab")
    vault = SealedVault(NamedKey("lab"))
    paths = [home / "runs" / f"run{number}" / "checkpoint.plab" for number in range(FILES)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        vault.write(path, bytes([number]) * 20_000)
    began = time.monotonic()
    rotate_key("lab")
    usual = time.monotonic() - began
    mixed = finished = 0
    for _ in range(rounds):

        def rotate(tick: Callable[[], None]) -> None:
            tick()
            rotate_key("lab")
            tick()

        child, reader = fork(rotate)
        made = kill_after(child, reader, 1, draw.uniform(0, 1.1 * usual))
        mixed += len({lock_of(path.read_bytes()).salt for path in paths}) > 1
        for number, path in enumerate(paths):
            assert vault.read(path) == bytes([number]) * 20_000
        entry = Keybook().get("lab")
        if entry.retired or entry.doomed:
            done = rotate_key("lab")
            finished += done.resumed
        elif made == 2:
            continue
        entry = Keybook().get("lab")
        assert not entry.retired and not entry.doomed
        for number, path in enumerate(paths):
            assert lock_of(path.read_bytes()) == entry.current.lock
            assert SealedVault(NamedKey("lab")).read(path) == bytes([number]) * 20_000
    left = [file.name for file in (home / "keys").glob("lab.*.key")]
    return {"rounds": rounds, "mixed": mixed, "finished": finished, "current": entry.current.material in left}


def beside(home: Path, rounds: int, draw: random.Random) -> dict[str, int]:
    """Rotate while another process saves and is killed: no save is lost, and no file is left to a key that is gone."""
    create_key("lab")
    vault = SealedVault(NamedKey("lab"))
    path = home / "runs" / "run" / "checkpoint.plab"
    path.parent.mkdir(parents=True)
    vault.write(path, content(0))
    version, rotated = 0, 0
    for _ in range(rounds):

        def write(tick: Callable[[], None], first: int = version + 1) -> None:
            for number in range(first, first + 1000):
                tick()
                vault.write(path, content(number))
                tick()

        child, reader = fork(write)
        rotated += rotate_key("lab").files
        made = kill_after(child, reader, 1, draw.uniform(0, 0.02))
        saved, begun = version + made // 2, version + (made + 1) // 2
        version = int.from_bytes(vault.read(path)[:8], "big")
        assert saved <= version <= begun, (saved, version, begun)
    return {"rounds": rounds, "rotated": rotated, "version": version}


if __name__ == "__main__":
    which, home, rounds, seed = sys.argv[1:]
    os.environ["PRIVLAB_HOME"] = home
    work = {"saves": saves, "rotations": rotations, "beside": beside}[which]
    print(json.dumps(work(Path(home), int(rounds), random.Random(int(seed)))))
