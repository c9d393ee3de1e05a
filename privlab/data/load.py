"""Loading a data set into memory as tensors, scaled by constants only.

Nothing is estimated from the records: a mean or a standard deviation of the training data would tell something about it
outside the guarantee.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from privlab.data import census, digits
from privlab.data.catalogue import DATASETS, DatasetFacts, availability, cache_file
from privlab.data.fetch import EMBEDDED, FetchError, fetch, read

#: Label of a token that nothing is asked about, as of padding.
NOT_ASKED = -100
#: Largest pixel value of pictures in 256 greys.
_BYTE_WHITE = 255.0


class DataMissing(Exception):
    """The records of a data set are not on this machine, or are damaged. The message says how to get them."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A whole data set in memory.

    Attributes:
        facts: of the data set as catalogued. A :class:`Dataset` of fixed features keeps the facts of its pictures.
        train_x, test_x: float32 inputs, (records, channels, height, width) or (records, inputs), or int64 tokens (records, L).
        train_y, test_y: int64 labels, (records,), each in 0 … classes - 1; for language next tokens (records, L), or NOT_ASKED.

    Where users are the unit of privacy, ``train_x`` and ``train_y`` hold each one's records, (users, records, …).
    """

    facts: DatasetFacts
    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor


def load(key: str) -> Dataset:
    """Data set ``key`` with inputs scaled to 0…1 by public constants. Never uses the network.

    Raises:
        KeyError: unknown data set, or one of texts (see :mod:`privlab.data.texts`).
        DataMissing: not fetched yet, or its file is damaged.
    """
    facts = DATASETS[key]
    if facts.kind == "text":
        raise KeyError(key)
    try:
        arrays = _READERS.get(key, _pictures)(key)
    except (FetchError, OSError) as error:
        raise DataMissing(f"{facts.title} cannot be loaded: {error}") from error
    train_x, test_x = (torch.from_numpy(arrays[part]) for part in ("train_x", "test_x"))
    train_y, test_y = (torch.from_numpy(arrays[part].astype(np.int64)) for part in ("train_y", "test_y"))
    return Dataset(facts, train_x, train_y, test_x, test_y)


def _digits(_key: str) -> dict[str, np.ndarray]:
    (train_x, train_y), (test_x, test_y) = digits.digits()
    pictures = [x.astype(np.float32).reshape(-1, *DATASETS["digits"].shape) for x in (train_x, test_x)]
    return {"train_x": pictures[0], "train_y": train_y, "test_x": pictures[1], "test_y": test_y}


def _adult(key: str) -> dict[str, np.ndarray]:
    table = read(EMBEDDED / f"{key}.npz")
    arrays = {}
    for part in ("train", "test"):
        names = (*census.RANGES, *census.CATEGORIES)
        arrays[f"{part}_x"] = census.encode({name: table[f"{part}_{name}"] for name in names})
        arrays[f"{part}_y"] = table[f"{part}_y"]
    return arrays


def _pictures(key: str) -> dict[str, np.ndarray]:
    arrays = read(_file(key))
    for part in ("train_x", "test_x"):
        arrays[part] = np.divide(arrays[part], np.float32(_BYTE_WHITE), dtype=np.float32)
    return arrays


def _file(key: str) -> Path:
    if DATASETS[key].embedded:
        return EMBEDDED / f"{key}.npz"
    cached, found = cache_file(key), availability(key)
    if not found.ready:
        raise DataMissing(found.message)
    # Installed by the system: fetching only reads and checks it, once.
    return cached if cached.is_file() else fetch(key)


_READERS = {"digits": _digits, "adult": _adult}
