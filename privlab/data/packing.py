"""Many texts as one array of bytes, in which they are kept and checked: UTF-8, a zero byte behind each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

#: Every fifth text, or user, counted in file order, is for tests.
_EVERY = 5


def packed(texts: Iterable[str]) -> np.ndarray:
    """uint8 (bytes,). A text must hold no zero character."""
    return np.frombuffer("".join(f"{text}\0" for text in texts).encode(), np.uint8)


def unpacked(array: np.ndarray) -> tuple[str, ...]:
    """The texts of :func:`packed`. Raises ValueError for other bytes."""
    raw = array.tobytes()
    if raw and not raw.endswith(b"\0"):
        raise ValueError("the last text is not whole")
    return tuple(text.decode() for text in raw.split(b"\0")[:-1])


def split(count: int) -> tuple[list[int], list[int]]:
    """Places of those to train on and of those for tests among ``count`` texts or users."""
    test = [i for i in range(count) if i % _EVERY == _EVERY - 1]
    return [i for i in range(count) if i % _EVERY != _EVERY - 1], test
