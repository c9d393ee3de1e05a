"""Key bytes that do not show themselves."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Bytes whose ``repr`` and ``str`` are redacted, and which refuse to be pickled.

    Tracebacks with local variables, logs and debuggers show ``repr``; the bytes come out only through :meth:`reveal`.
    Python cannot wipe them from memory when they are no longer needed.
    """

    __slots__ = ("_held",)

    def __init__(self, held: bytes):
        self._held = held

    def reveal(self) -> bytes:
        return self._held

    @property
    def size(self) -> int:
        """How many bytes."""
        return len(self._held)

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not written anywhere, so it cannot be pickled.")
