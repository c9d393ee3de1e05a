"""Colours and line styles that stay apart for colour-blind eyes, in print, and on a projector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


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


#: Where a result is from: its symbol, and the word for it. Filled is trained here, open is somebody else's.
PROVENANCE: dict[str, tuple[str, str]] = {
    "real": ("circle", "trained here"),
    "imported": ("square-open", "imported"),
    "reference": ("star-open", "published"),
}
#: Scale for values without a middle: even to colour-blind eyes, and its ends are told apart in print.
SCALE = "Cividis"
#: The same for thin lines, whose ends must stand out from a white and from a dark page.
LINE_SCALE = ((0.0, "#3595D1"), (1.0, "#D55E00"))


def style(place: int) -> Style:
    """The look of the run at ``place`` (0 for the first) among all runs ever launched here.

    Eight runs launched one after the other have eight colours; thirty-two have thirty-two pairs of colour and dash, and
    then they begin again.
    """
    turn, colour = divmod(place, len(COLOURS))
    return Style(COLOURS[colour], DASHES[(colour + turn) % len(DASHES)], SYMBOLS[(colour + turn) % len(SYMBOLS)])


def of_origin(look: Style, imported: bool) -> Style:
    """``look``, with the symbol of what was trained elsewhere where that is so."""
    return replace(look, symbol=PROVENANCE["imported"][0]) if imported else look


def styles(run_ids: Sequence[str]) -> dict[str, Style]:
    """A look for each run by its place in ``run_ids``; an id given twice keeps its first place.

    Give the ids of all runs, oldest first, and a run looks the same on every page, beside whichever other runs.
    """
    return {run_id: style(place) for place, run_id in enumerate(dict.fromkeys(run_ids))}
