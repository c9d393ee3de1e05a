"""What somebody who took a file can do with it: read it, change it, guess its key. Pure functions, torch-free."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from privlab.encryption.keys import Passphrase
from privlab.encryption.sealing import (
    HEADER_SIZE,
    RAW_KEY,
    SCRYPT,
    FindKey,
    Lock,
    SealError,
    is_sealed,
    lock_of,
    unseal,
)

_SHORTEST_TEXT = 16
#: Random bytes of the file's size would show as long a printable run less often than this.
_CHANCE_OF_TEXT = 1e-6
_PRINTABLE = 95 / 256
_MOST_TEXTS = 40
_LONGEST_TEXT = 200


@dataclass(frozen=True)
class Loot:
    """What a file gives away.

    Attributes:
        size: bytes.
        sealed: whether it is one of PrivLab's sealed files.
        entropy: Shannon entropy of its byte values, bits per byte (0 to 8). Random bytes come close to 8; so do the low
            digits of weights, so a high value proves nothing by itself.
        entropy_of_random: what as many random bytes would show on average.
        first_bytes: the first 32, hexadecimal.
        texts: printable text of at least 16 characters, more in large files, where as many appear by chance; at most 40 pieces
            of it, each cut at 200 characters.
        tensors: name → shape, read from a safetensors header; empty where there is none to read.
        notes: the metadata of that header, such as the settings of the training.
        can_read: what the thief learns, one sentence each.
    """

    size: int
    sealed: bool
    entropy: float
    entropy_of_random: float
    first_bytes: str
    texts: tuple[str, ...]
    tensors: dict[str, tuple[int, ...]]
    notes: dict[str, str]
    can_read: tuple[str, ...]


@dataclass(frozen=True)
class Tried:
    """Whether an attempt opened the file, and what it looked like, in plain words."""

    opened: bool
    said: str


def steal(path: Path) -> Loot:
    """What the file at ``path`` gives away to somebody without a key. Raises OSError."""
    data = path.read_bytes()
    tensors, notes = _safetensors_header(data)
    return Loot(
        size=len(data),
        sealed=is_sealed(data),
        entropy=entropy(data),
        entropy_of_random=_entropy_of_random(len(data)),
        first_bytes=data[:32].hex(" "),
        texts=_texts(data),
        tensors=tensors,
        notes=notes,
        can_read=_can_read(data, tensors, notes),
    )


def weights(data: bytes) -> dict[str, np.ndarray]:
    """The numbers in a safetensors file by name; empty where nothing can be read, as in a sealed file."""
    try:
        return safetensors.numpy.load(data)
    except (SafetensorError, KeyError, ValueError):
        return {}


def entropy(data: bytes) -> float:
    """Shannon entropy of the byte values of ``data`` in bits per byte (Shannon 1948, section 6); 0 for no bytes."""
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    shares = counts[counts > 0] / max(1, len(data))
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def _entropy_of_random(size: int) -> float:
    """Average :func:`entropy` of ``size`` random bytes, to first order in 1 / size (Miller 1955)."""
    return 8 - 255 / (2 * size * math.log(2)) if size > 255 else math.log2(max(1, size))


def flip(data: bytes, position: int) -> bytes:
    """``data`` with the lowest bit of byte ``position`` flipped. Raises ValueError beyond its end."""
    if not 0 <= position < len(data):
        raise ValueError(f"position={position} is refused: the file has bytes 0 to {len(data) - 1}.")
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def part_of(data: bytes, position: int) -> str:
    """Which part of a sealed file byte ``position`` is in, in plain words."""
    for end, name in (
        (8, "the mark and version of the format"),
        (12, "how the key is derived"),
        (28, "salt, or id of the key"),
        (35, "nonce of the chunks"),
        (47, "nonce of the wrapped data key"),
        (HEADER_SIZE, "the wrapped data key"),
    ):
        if position < end:
            return name
    return "the encrypted content"


def try_open(data: bytes, find_key: FindKey) -> Tried:
    """Open ``data`` with the key that ``find_key`` finds; a plain file needs none."""
    if not is_sealed(data) and data[:7] != b"PRIVLAB":
        return Tried(
            True, "The file is not sealed: it opens without a key, and nothing would show that it was changed."
        )
    try:
        content = unseal(data, find_key)
    except SealError as error:
        return Tried(False, f"Refused: {error}")
    return Tried(True, f"Opened: {len(content):,} bytes, exactly as they were sealed.")


def try_key(data: bytes, passphrase: str) -> Tried:
    """Guess: open ``data`` with ``passphrase``. Where the file needs a key and no passphrase, the SHA-256 of the text is tried
    as the 256-bit key, which is a guess like any other."""
    if not passphrase:
        return Tried(False, "Nothing was tried: type at least one character.")
    try:
        lock = lock_of(data[:HEADER_SIZE])
    except SealError as error:
        return try_open(data, _no_key) if not is_sealed(data) else Tried(False, f"Refused: {error}")
    if lock.kdf == SCRYPT:
        return try_open(data, Passphrase(passphrase).for_opening)
    tried = try_open(data, lambda _: hashlib.sha256(passphrase.encode()).digest())
    kind = "a key file" if lock.kdf == RAW_KEY else "a named key"
    return Tried(
        tried.opened,
        f"The file needs {kind} of 256 random bits, and no passphrase leads to it. Tried the SHA-256 of the text as the key. "
        + tried.said,
    )


def _no_key(_: Lock) -> bytes:
    raise SealError("there is no key")


def _texts(data: bytes) -> tuple[str, ...]:
    # Union bound over the places where a run could begin: size × share^length.
    by_chance = math.ceil(math.log(_CHANCE_OF_TEXT / max(1, len(data)), _PRINTABLE))
    pattern = rb"[\x20-\x7e]{%d,}" % max(_SHORTEST_TEXT, by_chance)
    found = (match.group()[:_LONGEST_TEXT].decode("ascii") for match in re.finditer(pattern, data))
    return tuple(text for text, _ in zip(found, range(_MOST_TEXTS), strict=False))


def _safetensors_header(data: bytes) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Names with shapes, and metadata: 8 bytes of length, then JSON (the safetensors format)."""
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= len(data) - 8:
        return {}, {}
    try:
        header = json.loads(data[8 : 8 + length])
        notes = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        return {name: tuple(about["shape"]) for name, about in header.items()}, notes
    except (ValueError, AttributeError, KeyError, TypeError):
        return {}, {}


def _can_read(data: bytes, tensors: dict[str, tuple[int, ...]], notes: dict[str, str]) -> tuple[str, ...]:
    said = [f"That there is a file of {len(data):,} bytes, its name and when it was last written."]
    if is_sealed(data):
        said.append(f"That PrivLab sealed it{_kind(data)}.")
        said.append("Nothing of what is inside: no parameter, no name of a layer, no setting.")
        return tuple(said)
    if tensors:
        count = sum(int(np.prod(shape)) for shape in tensors.values())
        said.append(f"Every one of its {count:,} numbers in {len(tensors)} tensors, by name: the whole model.")
    if notes:
        said.append(f"What is written beside them: {', '.join(sorted(notes))}.")
    if not tensors:
        said.append("Whatever the bytes say: nothing hides them.")
    return tuple(said)


def _kind(data: bytes) -> str:
    try:
        kdf = lock_of(data[:HEADER_SIZE]).kdf
    except SealError:
        return ""
    return {SCRYPT: " with a passphrase", RAW_KEY: " with a key file"}.get(
        kdf, " with a named key, of which it shows a random id"
    )
