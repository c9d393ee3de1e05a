"""What privacy costs, step by step: a waterfall from training as usual to full DP-SGD."""

from __future__ import annotations

import math
from collections.abc import Iterable

import plotly.graph_objects as go

from privlab.analysis.decomposition import STEPS, Breakdown
from privlab.charts.figure import base_layout, below, heading, plain
from privlab.charts.style import COLOURS
from privlab.metrics import METRICS

_LEVEL, _LOSS, _GAIN, _CHANCE = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[7]


def decomposition_figure(found: Breakdown, notes: Iterable[str] = ()) -> go.Figure:
    """Levels of the first and last training, and between them what each change costs, with 95 % intervals over seeds.

    A change whose interval holds 0 is grey: it cannot be told from chance. The axis does not begin at 0, so compare the
    numbers, not the areas.

    Args:
        notes: what a reader must know, below the chart.
    """
    told = METRICS[found.metric]
    percent, name = told.unit == "share", f"{told.label[0].lower()}{told.label[1:]}"
    spent = f"ε = {found.epsilon:.3g}" if math.isfinite(found.epsilon) else ""
    seeds = {level.n for level in found.levels.values()}
    repeats = f"{min(seeds)} seed{'s' * (min(seeds) > 1)} each" if len(seeds) == 1 else "seeds differ by step"
    below_ = [_broken(plain(note)) for note in notes]
    lines = sum(note.count("<br>") + 1 for note in below_)
    figure = go.Figure(
        layout=base_layout(
            height=440 + 18 * lines,
            margin={"l": 60, "r": 20, "t": 70, "b": 70 + 18 * lines},
            showlegend=False,
            title=below(heading(f"What privacy costs in {name}", [told.release]), spent, repeats if found.levels else ""),
            xaxis={"type": "category", "automargin": True},
            yaxis={
                "title": {"text": told.label}, "tickformat": ".3~p" if percent else "~g",
                "zeroline": False, "automargin": True,
            },
        )
    )  # fmt: skip
    if len(found.levels) < 2:
        figure.add_annotation(
            text="At least two of the trainings must have finished", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper"
        )  # fmt: skip
        return figure
    order = list(found.levels)
    means = {step: found.levels[step].mean for step in order}
    reach = [
        side for level in found.levels.values() for side in (level.low, level.high, level.mean) if math.isfinite(side)
    ]
    span = max(max(reach) - min(reach), 1e-6)
    floor, ceiling = min(reach) - 0.25 * span, max(reach) + 0.2 * span
    names, starts, ends, colours, errors, texts, hovers = [], [], [], [], [], [], []

    def bar(name: str, start: float, end: float, colour: str, error: float, text: str, hover: str) -> None:
        names.append(name)
        starts.append(start)
        ends.append(end)
        colours.append(colour)
        errors.append(error if math.isfinite(error) else 0.0)
        texts.append(text)
        hovers.append(hover)

    first, last = order[0], order[-1]
    bar(
        STEPS[first], floor, means[first], _LEVEL, found.levels[first].high - means[first],
        told.show(means[first]), _level_words(found, first),
    )  # fmt: skip
    for before, cost in zip(order, found.costs, strict=False):
        change = cost.difference
        sure = math.isfinite(change.p) and not change.low <= 0 <= change.high
        good = (change.effect > 0) == (told.better == "up")
        colour = _CHANCE if not sure else _GAIN if good else _LOSS
        size = (f"{100 * change.effect:+.2f}" if percent else f"{change.effect:+.3g}").replace("-", "−")
        unit = " points" if percent else ""
        scale = 100 if percent else 1
        interval = (
            f"95 % interval {scale * change.low:+.2f} to {scale * change.high:+.2f}{unit}"
            + ("" if sure else "<br>cannot be told from chance")
            if math.isfinite(change.low)
            else "one run on a side: no interval"
        )
        bar(
            cost.label, means[before], means[cost.step], colour, (change.high - change.low) / 2, size,
            f"{cost.label}: {size}{unit}<br>{interval}<br>to {told.show(means[cost.step])}",
        )  # fmt: skip
    bar(
        "full DP-SGD" if last == "noise" else STEPS[last] + " reached", floor, means[last], _LEVEL,
        found.levels[last].high - means[last], told.show(means[last]), _level_words(found, last),
    )  # fmt: skip
    names = [name.replace(" ", "<br>", 1) if len(name) > 12 else name for name in names]
    figure.add_bar(
        x=names,
        base=starts,
        y=[end - start for start, end in zip(starts, ends, strict=True)],
        marker={"color": colours},
        width=0.6,
        error_y={"type": "data", "array": errors, "color": _CHANCE, "thickness": 2, "width": 6},
        customdata=hovers,
        hovertemplate="%{customdata}<extra></extra>",
    )
    tops = [max(start, end + error) + 0.02 * span for start, end, error in zip(starts, ends, errors, strict=True)]
    figure.add_scatter(
        x=names, y=tops, mode="text", text=texts, textposition="top center", hoverinfo="skip", cliponaxis=False
    )
    for place, end in enumerate(ends[:-1]):
        figure.add_shape(
            type="line",
            x0=place + 0.3,
            x1=place + 0.7,
            y0=end,
            y1=end,
            line={"color": _CHANCE, "width": 1, "dash": "dot"},
        )
    figure.update_yaxes(range=[floor, max(ceiling, max(tops) + 0.12 * span)])
    if below_:
        figure.add_annotation(
            text="<br>".join(below_), showarrow=False, x=0, y=0, xref="paper", yref="paper", xanchor="left", yanchor="top",
            yshift=-50, align="left", font={"size": 11},
        )  # fmt: skip
    return figure


def _level_words(found: Breakdown, step: str) -> str:
    told, level = METRICS[found.metric], found.levels[step]
    if level.n < 2:
        return f"{STEPS[step]}: {told.show(level.mean)}<br>one run"
    interval = f"95 % interval {told.show(level.low)} to {told.show(level.high)}"
    return f"{STEPS[step]}: {told.show(level.mean)}<br>mean of {level.n}, {interval}"


def _broken(text: str, width: int = 120) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)
