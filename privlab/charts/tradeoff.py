"""What an attacker can tell: true-positive rate against false-positive rate, with the coin flip and what is marked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from privlab.charts.figure import base_layout, heading
from privlab.charts.style import COLOURS
from privlab.metrics import Release

#: Smallest false-positive rate on a logarithmic axis.
LEAST_RATE = 1e-5


@dataclass(frozen=True)
class Marked:
    """A point to point out: its two rates (0…1) and a few words."""

    false_positive_rate: float
    true_positive_rate: float
    label: str


def pair_curve(epsilon: float, delta: float, false_positive_rates: Sequence[float]) -> np.ndarray:
    """Largest true-positive rate that the (ε, δ) pair alone allows at each rate, shape (n,).

    Source: Kairouz, Oh, Viswanath 2015 (arXiv:1311.0776, theorem 2.1).
    """
    fpr = np.asarray(false_positive_rates, dtype=float)
    with np.errstate(over="ignore", invalid="ignore"):
        steep = delta + np.where(fpr > 0, np.exp(epsilon) * fpr, 0.0)
    flat = 1 - np.exp(-epsilon) * np.maximum(1 - delta - fpr, 0.0)
    return np.clip(np.minimum(steep, flat), 0.0, 1.0)


def trade_off_figure(
    false_positive_rates: Sequence[float],
    true_positive_rates: Sequence[float],
    *,
    pair: tuple[float, float] | None = None,
    marks: Iterable[Marked] = (),
    log: bool = False,
) -> go.Figure:
    """The largest true-positive rate at each false-positive rate.

    Args:
        false_positive_rates: α, ascending, 0…1.
        true_positive_rates: the bound at each α, of the same length.
        pair: (ε, δ), to draw what this pair alone would allow.
        marks: points to point out.
        log: logarithmic axes from :data:`LEAST_RATE`, which show the attacker who seldom accuses wrongly.

    Raises:
        ValueError: the two sequences differ in length.
    """
    fpr, tpr = np.asarray(false_positive_rates, dtype=float), np.asarray(true_positive_rates, dtype=float)
    if fpr.shape != tpr.shape:
        raise ValueError(f"{fpr.size} false-positive and {tpr.size} true-positive rates; they must be equally many.")
    reach = (
        {"type": "log", "range": [np.log10(LEAST_RATE), 0], "dtick": 1}
        if log
        else {"range": [-0.02, 1.02], "dtick": 0.25}
    )
    axis = {**reach, "tickformat": "~%" if not log else "~r", "zeroline": False, "automargin": True}
    if log:
        ticks = [10.0**power for power in range(round(np.log10(LEAST_RATE)), 1)]
        axis |= {"tickvals": ticks, "ticktext": [f"{100 * tick:g} %" for tick in ticks]}
    figure = go.Figure(
        layout=base_layout(
            height=360,
            title=heading("What an attacker can tell at most", [Release.RELEASED]),
            xaxis={**axis, "title": {"text": "false-positive rate: named although not used"}},
            yaxis={**axis, "title": {"text": "true-positive rate: recognised"}},
        )
    )
    shown = fpr >= LEAST_RATE if log else np.full(fpr.shape, True)
    look = {"mode": "lines", "hovertemplate": "%{y:.3~%} recognised at %{x:.3~%} wrongly named<extra></extra>"}
    if pair is not None:
        figure.add_scatter(
            x=fpr[shown], y=pair_curve(*pair, fpr)[shown], name="what (ε, δ) alone would allow",
            line={"color": COLOURS[1], "dash": "dash", "width": 1.5}, **look,
        )  # fmt: skip
    figure.add_scatter(
        x=fpr[shown], y=tpr[shown], name="this training", line={"color": COLOURS[0], "width": 2.5}, **look
    )
    figure.add_scatter(
        x=fpr[shown], y=fpr[shown], name="coin flip", line={"color": COLOURS[7], "dash": "dot", "width": 1.5}, **look
    )
    marks = list(marks)
    if marks:
        figure.add_scatter(
            x=[mark.false_positive_rate for mark in marks],
            y=[mark.true_positive_rate for mark in marks],
            # Near the corner of linear axes a text would lie on the lines; its hover text says it there.
            text=[mark.label if log or mark.false_positive_rate > 0.02 else "" for mark in marks],
            hovertext=[mark.label for mark in marks],
            mode="markers+text",
            textposition="top left",
            marker={"size": 10, "symbol": "diamond", "color": COLOURS[0]},
            cliponaxis=False,
            showlegend=False,
            hovertemplate="%{hovertext}<extra></extra>",
        )
    return figure
