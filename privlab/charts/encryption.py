"""Charts of the Encryption page: what modes cost, what stolen bytes look like, and encrypted against plain answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from privlab.charts.figure import base_layout, heading, plain
from privlab.charts.style import COLOURS
from privlab.metrics import PHASES, Release

#: Phases by colour; the three of encryption are the warm ones.
_PHASE_COLOURS = {
    "load": COLOURS[7],
    "decrypt": COLOURS[3],
    "encrypt": COLOURS[1],
    "transfer": COLOURS[5],
    "gradients": COLOURS[0],
    "clip": COLOURS[4],
    "perturb": COLOURS[6],
    "update": COLOURS[2],
    "repeat": "#b5bcc0",
}


def step_cost_figure(costs: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Seconds of one training step by phase, a bar for each mode.

    Args:
        costs: label of the bar → phase of :data:`privlab.metrics.PHASES` → seconds.
    """
    figure = go.Figure(
        layout=base_layout(
            height=170 + 38 * len(costs),
            title=heading("Time of one training step, by phase", [Release.OPERATIONAL]),
            margin={"l": 10, "r": 20, "t": 100, "b": 40},
            barmode="stack",
            bargap=0.3,
            legend={"yanchor": "bottom", "y": 1.0},
            xaxis={"title": {"text": "milliseconds"}, "zeroline": False},
            yaxis={"autorange": "reversed", "automargin": True},
        )
    )
    labels = [plain(label) for label in costs]
    for phase, title in PHASES.items():
        values = [1000 * cost.get(phase, 0.0) for cost in costs.values()]
        if any(values):
            figure.add_bar(
                orientation="h",
                x=values,
                y=labels,
                name=title,
                marker={"color": _PHASE_COLOURS[phase]},
                hovertemplate="%{y}: %{x:.3g} ms<extra>" + plain(title) + "</extra>",
            )
    return figure


def bytes_figure(data: bytes, title: str, width: int = 128, rows: int = 48) -> go.Figure:
    """The first ``width · rows`` bytes of ``data`` as grey pixels: structure shows as a pattern, ciphertext as noise."""
    found = np.frombuffer(data[: width * rows], dtype=np.uint8)
    padded = np.full(width * rows, np.nan)
    padded[: len(found)] = found
    return go.Figure(
        go.Heatmap(
            z=padded.reshape(rows, width),
            colorscale="Greys",
            zmin=0,
            zmax=255,
            showscale=False,
            hovertemplate="byte %{z}<extra></extra>",
        ),
        base_layout(
            height=300,
            title={"text": plain(title), "font": {"size": 15}},
            margin={"l": 10, "r": 10, "t": 44, "b": 10},
            xaxis={"visible": False},
            yaxis={"visible": False, "autorange": "reversed"},
        ),
    )


def pictures_figure(weights: np.ndarray, shape: tuple[int, int], title: str, columns: int = 5) -> go.Figure:
    """Rows of ``weights`` (n, height · width) as small pictures beside each other: what a thief of a plain file sees."""
    n, (high, wide) = len(weights), shape
    rows = -(-n // columns)
    sheet = np.full((rows * (high + 1), columns * (wide + 1)), np.nan)
    for place, row in enumerate(weights):
        top, left = (place // columns) * (high + 1), (place % columns) * (wide + 1)
        sheet[top : top + high, left : left + wide] = row.reshape(high, wide)
    most = float(np.nanmax(np.abs(sheet))) or 1.0
    return go.Figure(
        go.Heatmap(z=sheet, colorscale="RdBu", zmin=-most, zmax=most, showscale=False, hoverinfo="skip"),
        base_layout(
            height=300,
            title={"text": plain(title), "font": {"size": 15}},
            margin={"l": 10, "r": 10, "t": 44, "b": 10},
            xaxis={"visible": False, "scaleanchor": "y"},
            yaxis={"visible": False, "autorange": "reversed"},
        ),
    )


def logits_figure(encrypted: Sequence[float], unencrypted: Sequence[float]) -> go.Figure:
    """Scores of each class from the encrypted computation and from the plain model, side by side."""
    classes = [str(place) for place in range(len(encrypted))]
    figure = go.Figure(
        layout=base_layout(
            height=300,
            title={"text": "Score of each digit", "font": {"size": 15}},
            margin={"l": 40, "r": 10, "t": 44, "b": 40},
            barmode="group",
            legend={"y": -0.15},
            xaxis={"type": "category"},
        )
    )
    for name, values, colour in (("decrypted answer", encrypted, COLOURS[1]), ("plain model", unencrypted, COLOURS[0])):
        figure.add_bar(x=classes, y=list(values), name=name, marker={"color": colour})
    return figure


def twin_figure(title: str, x_title: str, x: Sequence[float], curves: Mapping[str, Sequence[float]]) -> go.Figure:
    """Test accuracy (0…1) of an encrypted training and of its plain twin against ``x``."""
    figure = go.Figure(
        layout=base_layout(
            height=360,
            title=heading(title, [Release.TEST_DATA]),
            xaxis={"title": {"text": x_title}, "zeroline": False},
            yaxis={"title": {"text": "Test accuracy"}, "tickformat": ".0%"},
        )
    )
    looks = ({"width": 6, "color": COLOURS[4]}, {"width": 2, "color": COLOURS[1]})
    for (name, values), line in zip(curves.items(), looks, strict=False):
        figure.add_scatter(
            x=list(x),
            y=list(values),
            name=plain(name),
            mode="lines+markers",
            line=line,
            marker={"size": 5},
            opacity=0.9,
            hovertemplate="%{y:.2%} at %{x:.4g}<extra>" + plain(name) + "</extra>",
        )
    return figure


def attack_figure(
    rates: Sequence[tuple[float, float]], bound: tuple[Sequence[float], Sequence[float]] | None
) -> go.Figure:
    """What an attack reached, as true- against false-positive rate, below what the guarantee allows any attack.

    Args:
        rates: (false-positive, true-positive) pairs of the attack, ascending.
        bound: false-positive rates and the largest true-positive rate at each; None where nothing is guaranteed.
    """
    figure = go.Figure(
        layout=base_layout(
            height=320,
            title=heading("One attack, and what no attack may pass", [Release.PRIVATE, Release.RELEASED]),
            xaxis={"title": {"text": "false-positive rate"}, "range": [-0.02, 1.02], "tickformat": ".0%"},
            yaxis={"title": {"text": "true-positive rate"}, "range": [-0.02, 1.02], "tickformat": ".0%"},
            legend={"y": -0.3},
        )
    )
    figure.add_scatter(
        x=[0, 1], y=[0, 1], name="coin flip", mode="lines", line={"color": COLOURS[7], "dash": "dot", "width": 1}
    )
    if bound is not None:
        figure.add_scatter(
            x=list(bound[0]), y=list(bound[1]), name="bound of the guarantee", line={"color": COLOURS[0]}
        )
    wrong, hits = zip(*rates, strict=True)
    figure.add_scatter(x=wrong, y=hits, name="this attack", line={"color": COLOURS[1], "width": 3})
    return figure
