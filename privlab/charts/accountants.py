"""Several values of ε for the same thing, side by side: what is claimed, what only checks it, and what must not be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import plotly.graph_objects as go

from privlab.charts.figure import base_layout, heading, plain
from privlab.charts.style import COLOURS
from privlab.metrics import Release


class Standing(StrEnum):
    """What a value is good for."""

    CLAIM = "the claim"
    CHECK = "a check"
    TRAP = "a trap: understates"
    FLOOR = "a lower bound: the truth is this or more"


@dataclass(frozen=True)
class Bar:
    """One value of ε (inf where none is guaranteed) with its name and standing; ``words`` replaces the number's text."""

    label: str
    epsilon: float
    standing: Standing
    words: str = ""


_LOOKS = {
    Standing.CLAIM: {"color": COLOURS[0]},
    Standing.CHECK: {"color": COLOURS[4]},
    # Hatched, so that what is no upper bound is told apart without colour.
    Standing.TRAP: {"color": COLOURS[1], "pattern": {"shape": "/", "solidity": 0.4}},
    Standing.FLOOR: {"color": COLOURS[1], "pattern": {"shape": "/", "solidity": 0.4}},
}


def bars_figure(title: str, bars: Sequence[Bar]) -> go.Figure:
    """Horizontal bars in the given order from the top, each with its number; as high as they are many."""
    top = max((bar.epsilon for bar in bars if math.isfinite(bar.epsilon)), default=1.0) or 1.0
    figure = go.Figure(
        layout=base_layout(
            height=110 + 42 * len(bars),
            title=heading(title, [Release.RELEASED]),
            margin={"l": 10, "r": 20, "t": 64, "b": 40},
            showlegend=False,
            bargap=0.35,
            xaxis={"title": {"text": "ε"}, "range": [0, 1.3 * top], "zeroline": False},
            yaxis={
                "autorange": "reversed",
                "automargin": True,
                "categoryorder": "array",
                "categoryarray": [plain(bar.label) for bar in bars],
            },
        )
    )
    for bar in bars:
        finite = math.isfinite(bar.epsilon)
        figure.add_bar(
            orientation="h",
            x=[bar.epsilon if finite else 1.12 * top],
            y=[plain(bar.label)],
            marker=_LOOKS[bar.standing],
            text=[plain(bar.words or (f"{bar.epsilon:.4g}" if finite else "∞"))],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"{plain(bar.label)}: {bar.standing.value}<extra></extra>",
        )
    return figure
