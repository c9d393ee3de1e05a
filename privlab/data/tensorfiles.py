"""What a safetensors file holds, and several of them as one. Torch-free; no tensor is decoded, so any kind of number will do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from safetensors import SafetensorError, safe_open

from privlab.data.weightfiles import PIECE

#: Of the length of the header, before it.
_PREFIX = 8


class TensorFileError(Exception):
    """A file is no safetensors file, or two hold the same tensor. The message is a sentence."""


@dataclass(frozen=True)
class TensorFacts:
    """One tensor of a file: ``dtype`` as the format writes it (``F32``, ``BF16``, …) and ``shape``."""

    dtype: str
    shape: tuple[int, ...]


def tensor_facts(path: Path) -> dict[str, TensorFacts]:
    """Every tensor of a file by name; reads its header only.

    Raises:
        TensorFileError: the file is cut short or no safetensors file.
        OSError: it cannot be read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (a handle is no mapping)
            return {name: TensorFacts(each.get_dtype(), tuple(each.get_shape())) for name, each in slices.items()}
    except SafetensorError as error:
        raise TensorFileError(f"{path.name} is cut short or no safetensors file ({error}).") from error


def joined(files: Sequence[Path]) -> Iterator[bytes]:
    """The bytes of one safetensors file with the tensors of all ``files`` (shards of a model), in pieces.

    Raises:
        TensorFileError: one of them is no such file, or a tensor is in two of them.
        OSError: one cannot be read.
    """
    header: dict[str, dict] = {}
    at, bodies = 0, []
    for path in files:
        # The library's check of the whole header comes first, so that offsets are in order and without gaps.
        known = tensor_facts(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_PREFIX), "little")
            own = json.loads(file.read(length))
        own.pop("__metadata__", None)
        if twice := sorted(known.keys() & header.keys()):
            raise TensorFileError(f"The tensor {twice[0]} is in two files, one of them {path.name}.")
        for name, about in own.items():
            begin, end = about["data_offsets"]
            header[name] = about | {"data_offsets": [at + begin, at + end]}
        at += max((about["data_offsets"][1] for about in own.values()), default=0)
        bodies.append((path, _PREFIX + length))
    raw = json.dumps(header, separators=(",", ":")).encode()
    # The format wants tensors to begin at a multiple of eight bytes; a header may end with spaces.
    raw += b" " * (-len(raw) % 8)
    return chain([len(raw).to_bytes(_PREFIX, "little") + raw], _read(bodies))


def _read(bodies: Iterable[tuple[Path, int]]) -> Iterator[bytes]:
    for path, start in bodies:
        with path.open("rb") as file:
            file.seek(start)
            while piece := file.read(PIECE):
                yield piece
