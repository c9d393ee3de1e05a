"""Fixed features of records, computed once and kept on disk.

A feature vector depends on its own record and on what is public only. Normalising with statistics of the training set, as
the original code of scattering features also offers, would mix records and spend privacy that nobody counts.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from privlab import paths
from privlab.data.cache import Progress, disk_full, is_disk_full, making, publish
from privlab.data.catalogue import DatasetFacts

#: Pictures (records, channels, height, width), or texts.
Records = Tensor | Sequence[str]
#: More threads would only need more memory: eight transform 70,000 pictures in seconds.
_MOST_WORKERS = 8


class FeaturesError(Exception):
    """Features could not be computed or kept. The message says why in plain words."""


@dataclass(frozen=True)
class Features:
    """One way to make features.

    Attributes:
        name: for the folder.
        version: all that they depend on besides the record.
        shape: of one record's features.
        chunk: records at once.
        of: features of some records, float32 (records, *shape), the same to rounding in any company of records.
    """

    name: str
    version: str
    shape: tuple[int, ...]
    chunk: int
    of: Callable[[Records], Tensor]


def kept(facts: DatasetFacts, parts: Mapping[str, Records], features: Features, say: Progress) -> list[Tensor]:
    """The features of each part, mapped into memory, so that runs side by side share one copy.

    Two processes that need the same features at once: the second waits for the first.

    Args:
        parts: records by the name of the part.
        say: told records done, records in all, and what is being done; what it raises ends the work and leaves nothing behind.

    Raises:
        FeaturesError: the disk is full, or the folder cannot be written.
    """
    place = _place(facts, parts, features)
    ready = _load(place, parts, features)
    if ready is not None:
        return ready
    try:
        return _make(place, facts, parts, features, say)
    except OSError as error:
        if not is_disk_full(error):
            raise FeaturesError(
                f"The features of {facts.title} could not be kept in {place.parent}: {error}."
            ) from error
        need = 4 * prod(features.shape) * sum(map(len, parts.values()))
        raise FeaturesError(disk_full(f"the features of {facts.title} need", need, place.parent)) from error


def _place(facts: DatasetFacts, parts: Mapping[str, Records], features: Features) -> Path:
    """A folder named by all that the features depend on: the records themselves, and how they are transformed."""
    seen = hashlib.sha256(features.version.encode())
    for records in parts.values():
        if isinstance(records, Tensor):
            seen.update(str(tuple(records.shape)).encode())
            seen.update(records.contiguous().numpy().data)
        else:
            for text in (str(len(records)), *records):
                raw = text.encode()
                # The length first, so that no two rows of texts read the same.
                seen.update(len(raw).to_bytes(8, "big") + raw)
    return paths.data_dir() / "features" / f"{facts.key}-{features.name}-{seen.hexdigest()[:16]}"


def _make(
    place: Path, facts: DatasetFacts, parts: Mapping[str, Records], features: Features, say: Progress
) -> list[Tensor]:
    total = sum(map(len, parts.values()))
    waiting = f"waiting for another run to compute the features of {facts.title}"
    with making(place, lambda: say(0, total, waiting)) as folder:
        ready = _load(place, parts, features)
        if ready is not None:
            return ready
        complete, done = folder / "complete", 0
        complete.mkdir()
        say(done, total, f"computing features of {facts.title}")
        for name, records in parts.items():
            with closing(_write(complete / f"{name}.npy", records, features)) as written:
                for count in written:
                    done += count
                    say(done, total, f"computing features of {facts.title}")
        publish(complete, place)
    found = _load(place, parts, features)
    if found is None:
        raise OSError("what was just written cannot be read back")
    return found


def _write(path: Path, records: Records, features: Features) -> Generator[int, None, None]:
    """Write the features chunk by chunk, so that memory holds one chunk; yields the records done."""
    chunks = [records[at : at + features.chunk] for at in range(0, len(records), features.chunk)]
    with path.open("wb") as file, closing(_in_parallel(chunks, features.of)) as computed:
        shape = (len(records), *features.shape)
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for each in computed:
            # Not a memory map: on a full disk, writing through one kills the process.
            file.write(each.numpy().data)
            yield len(each)


def _in_parallel(chunks: Sequence[Records], of: Callable[[Records], Tensor]) -> Generator[Tensor, None, None]:
    """The features of each chunk, in order, computed on all cores by threads of one core each.

    torch's own threads wait for each other inside every operation. When another program wants the cores too, that was
    measured to be twenty times slower; threads that share nothing lose nothing.
    """
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    before, ahead = torch.get_num_threads(), deque()
    pool = ThreadPoolExecutor(workers, "features", initializer=torch.set_num_threads, initargs=(1,))
    try:
        for chunk in chunks:
            ahead.append(pool.submit(of, chunk))
            # Results wait in memory for the disk, so only a few may.
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _load(place: Path, parts: Mapping[str, Records], features: Features) -> list[Tensor] | None:
    """The kept features, or None where they are not there or not whole."""
    found = []
    for name, records in parts.items():
        try:
            # Copy on write: torch wants writable memory, and the file must never change.
            array = np.load(place / f"{name}.npy", mmap_mode="c", allow_pickle=False)
        except (FileNotFoundError, ValueError, EOFError):
            return None
        if array.shape != (len(records), *features.shape):
            return None
        found.append(torch.from_numpy(array))
    return found
