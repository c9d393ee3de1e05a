"""How far trainings and measurements yield to whatever a person is looking at."""

from __future__ import annotations

import os

#: Unix niceness: at 0 a process asks for as much as any other, at 19 it takes what nobody else wants.
NICE, _MOST = 10, 19


def yield_to_people() -> int:
    """Lower this process's priority to ``$PRIVLAB_NICE``, else to 10, and return that. A lower one stays as it is.

    Raises:
        ValueError: the variable is not a whole number from 0 to 19.
    """
    chosen = os.environ.get("PRIVLAB_NICE") or str(NICE)
    if not chosen.isdecimal() or int(chosen) > _MOST:
        raise ValueError(f"PRIVLAB_NICE={chosen!r} is refused: give a whole number from 0 to {_MOST}.")
    os.nice(max(0, int(chosen) - os.nice(0)))
    return int(chosen)
