"""Settings of equal ε: how the noise and the number of steps move when one setting slides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from privlab.charts.figure import base_layout, heading
from privlab.charts.style import COLOURS
from privlab.metrics import Release


def iso_figure(
    x: Sequence[float],
    noise_multipliers: Sequence[float],
    steps: Sequence[int],
    *,
    epsilon: float,
    x_title: str,
    at: tuple[float, float, int] | None = None,
) -> go.Figure:
    """σ and T of all combinations that spend the same ε, against batch size or epochs, on logarithmic axes.

    Args:
        x: batch sizes or epochs, ascending.
        noise_multipliers: σ at each x; NaN where no σ gives this ε.
        steps: T at each x.
        epsilon: what all of them spend.
        x_title: what x is.
        at: x, σ and T of the present point.

    Raises:
        ValueError: sequences of different length.
    """
    x, sigma, count = (np.asarray(values, dtype=float) for values in (x, noise_multipliers, steps))
    if not x.shape == sigma.shape == count.shape:
        raise ValueError(f"{x.size} values of x, {sigma.size} of σ and {count.size} of T; they must be equally many.")
    scale = {"type": "log", "dtick": "D2", "tickformat": "~s", "zeroline": False, "automargin": True}
    figure = go.Figure(
        layout=base_layout(
            height=360,
            title=heading(f"Settings that all spend ε = {epsilon:.4g}", [Release.RELEASED]),
            showlegend=False,
            xaxis={**scale, "title": {"text": x_title}, "anchor": "y2"},
            yaxis={**_ticks(sigma), "title": {"text": "noise σ"}, "domain": [0.54, 1]},
            yaxis2={**_ticks(count), "title": {"text": "steps T"}, "domain": [0, 0.46]},
        )
    )
    name = x_title.split(" ")[0].lower()
    for values, axis, colour, words in (
        (sigma, "y", COLOURS[0], "σ = %{y:.4~g}"),
        (count, "y2", COLOURS[2], "T = %{y:,.0f}"),
    ):
        figure.add_scatter(
            x=x, y=values, yaxis=axis, mode="lines", line={"color": colour, "width": 2.5},
            hovertemplate=f"{name} %{{x:,.5~g}}<br>{words}<extra></extra>",
        )  # fmt: skip
    if at is not None:
        place, noise, present = at
        for value, axis, colour, words in (
            (noise, "y", COLOURS[0], f"σ = {noise:.4g}"),
            (present, "y2", COLOURS[2], f"T = {present:,}"),
        ):
            figure.add_scatter(
                x=[place], y=[value], yaxis=axis, mode="markers+text", text=[words],
                textposition="top left" if place > np.sqrt(x[0] * x[-1]) else "top right",
                marker={"size": 12, "symbol": "diamond", "color": colour}, cliponaxis=False, hoverinfo="skip",
            )  # fmt: skip
    return figure


def _ticks(values: np.ndarray) -> dict[str, object]:
    """A logarithmic axis with as many round labels as fit half a chart."""
    known = values[np.isfinite(values) & (values > 0)]
    span = known.max() / known.min() if known.size else 1.0
    ticks = {"nticks": 4, "minorloglabels": "none"} if span < 4 else {"dtick": "D2" if span < 50 else 1}
    return {"type": "log", "tickformat": "~s", "zeroline": False, "automargin": True, **ticks}
