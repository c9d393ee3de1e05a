"""Colours and line styles that stay apart for colour-blind eyes, in print, and on a projector."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """How one run's line looks: ``colour`` as ``#rrggbb``, ``dash`` as a Plotly dash name, ``symbol`` of its points."""

    colour: str
    dash: str
    symbol: str


#: After Okabe & Ito (2008), "Color Universal Design". Their yellow and black are replaced and their sky blue is darkened:
#: each colour has a contrast of at least 3 : 1 on a white and on a dark page. Grey comes last, for when others are taken.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#C772A1", "#3595D1", "#B8860B", "#8B7FD6", "#7F8C8D")
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "pentagon", "star")

#: Looks that no two runs share until all are taken.
_LOOKS = len(COLOURS) * len(DASHES)
_BRIGHT = len(COLOURS) - 1


def _style(slot: int) -> Style:
    colour, turn = slot % len(COLOURS), slot // len(COLOURS)
    return Style(COLOURS[colour], DASHES[(colour + turn) % len(DASHES)], SYMBOLS[colour])


def styles(run_ids: Sequence[str]) -> dict[str, Style]:
    """A look for each run, the same on every page and after a reload.

    A run's first choice follows from its id alone; where two runs would share a colour, the later one in ``run_ids``
    takes the next free one. Give the ids oldest first: then launching a run changes no other run's colour. Runs share a
    colour from the ninth on, and a whole look from the 33rd.
    """
    taken: set[int] = set()
    looks: dict[str, Style] = {}
    for run_id in run_ids:
        if run_id in looks:
            continue
        first = zlib.crc32(run_id.encode()) % _BRIGHT
        order = [(first + k) % _BRIGHT for k in range(_BRIGHT)] + list(range(_BRIGHT, len(COLOURS)))
        turns = range(0, _LOOKS, len(COLOURS))
        slot = next((turn + colour for turn in turns for colour in order if turn + colour not in taken), first)
        taken.add(slot)
        looks[run_id] = _style(slot)
    return looks
