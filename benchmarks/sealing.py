"""Sealing: speed in memory, and to disk beside a plain write of the same bytes.

``in memory`` is what a save does besides the disk: pieces of 1 MiB in one buffer. ``AES-256-GCM alone`` is the library's
cipher in the same pieces without the format around it, the ceiling on this machine. ``whole file as bytes`` also makes the
sealed file in fresh memory. To disk, a plain file (as a run without sealing writes it) and a sealed one are written in turns,
synced, each in the place of the last. ``the same in pieces`` writes plain bytes the way sealed ones are written: the disk begins
with the first pieces while the next are made, which is where sealing hides its time. Exits with 1 where a target is missed, unless
the cipher alone misses it too.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.common import arguments, machine, report, spread
from privlab.encryption.sealing import CHUNK, RAW_KEY, Lock, seal, sealed_parts, unseal
from privlab.files import replace_atomically

#: Bytes a second, and the ratio of a sealed to a plain write.
LEAST_SPEED = 2e9
MOST_RATIO = 1.1


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time of one call."""
    began, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - busy


def cipher_alone(data: bytes) -> None:
    cipher, source, room = AESGCM(bytes(32)), memoryview(data), bytearray(CHUNK + 16)
    for index in range(len(data) // CHUNK):
        cipher.encrypt_into(index.to_bytes(12, "big"), source[index * CHUNK : (index + 1) * CHUNK], bytes(15), room)


def pieces(data: bytes) -> Iterator[memoryview]:
    return (memoryview(data)[at : at + CHUNK] for at in range(0, len(data), CHUNK))


def row(what: str, size: int, times: list[tuple[float, float]]) -> dict[str, object]:
    wall, busy = (spread(each) for each in zip(*times, strict=True))
    return {
        "what": what,
        "MiB": size >> 20,
        "GB/s": size / wall["median"] / 1e9,
        "best GB/s": size / wall["min"] / 1e9,
        "GB a processor second": size / busy["median"] / 1e9,
    }


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, nargs="+", default=[16, 128], help="sizes in MiB")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--folder", type=Path, default=None, help="on the disk to measure; default: the temporary folder"
    )
    given = parser.parse_args()
    lock, key, rows, missed = Lock(RAW_KEY), os.urandom(32), [], []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "file"
        for mib in given.mib:
            data = os.urandom(mib << 20)
            sealed = seal(data, lock, key)
            works = {
                "AES-256-GCM alone": lambda data=data: cipher_alone(data),
                "in memory": lambda data=data: deque(sealed_parts(data, lock, key), maxlen=0),
                "whole file as bytes": lambda data=data: seal(data, lock, key),
                "opening": lambda sealed=sealed: unseal(sealed, lambda _: key),
                "plain write + fsync": lambda data=data: replace_atomically(path, data),
                "the same in pieces": lambda data=data: replace_atomically(path, pieces(data)),
                "sealed write + fsync": lambda data=data: replace_atomically(path, sealed_parts(data, lock, key)),
            }
            times: dict[str, list[tuple[float, float]]] = {what: [] for what in works}
            for _ in range(given.repeats):
                for what, work in works.items():
                    times[what].append(seconds(work))
            plain, hidden = times["plain write + fsync"], times["sealed write + fsync"]
            ratio = spread(b[0] / a[0] for a, b in zip(plain, hidden, strict=True))["median"]
            rows += [row(what, len(data), each) for what, each in times.items()]
            rows[-1]["times plain"] = ratio
            # Nothing in memory waits for anything, so processor time is what it takes on a machine that does nothing else.
            speed, ceiling = (
                len(data) / min(busy for _, busy in times[what]) for what in ("in memory", "AES-256-GCM alone")
            )
            if speed < LEAST_SPEED:
                missed.append(
                    (
                        f"{mib} MiB in memory: {speed / 1e9:.2f} GB a processor second; AES-256-GCM alone {ceiling / 1e9:.2f}",
                        ceiling,
                    )
                )
            if ratio > MOST_RATIO:
                missed.append((f"{mib} MiB to disk: {ratio:.3f} times a plain write", LEAST_SPEED))
    report(given.json, "Sealing", machine("cryptography"), rows)
    for said, _ in missed:
        print(f"missed (≥ {LEAST_SPEED / 1e9:g} GB/s, ≤ {MOST_RATIO} times): {said}", file=sys.stderr)
    return int(any(ceiling >= LEAST_SPEED for _, ceiling in missed))


if __name__ == "__main__":
    sys.exit(main())
