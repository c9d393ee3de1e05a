"""What passes between this process and a party: one JSON object a line, arrays as base64."""

from __future__ import annotations

import base64
import json
from typing import Any, BinaryIO

import numpy as np


def pack(array: np.ndarray) -> dict[str, Any]:
    """A float64 or int64 array as JSON values."""
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode()}


def unpack(given: dict[str, Any]) -> np.ndarray:
    """:func:`pack` undone."""
    return np.frombuffer(base64.b64decode(given["data"]), dtype=given["dtype"]).reshape(given["shape"])


def write(stream: BinaryIO, message: dict[str, Any]) -> None:
    """One message, at once."""
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()


def read(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message; None at the end. Raises ValueError for anything else than a JSON object."""
    line = stream.readline()
    return parsed(line) if line else None


def parsed(line: bytes) -> dict[str, Any]:
    """The message in ``line``. Raises ValueError for anything else than a JSON object."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"not a message: {line[:80]!r}")
    return message
