"""The front of privacy and usefulness, with what each result rests on and two lines to read it by."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import plotly.graph_objects as go

from privlab.analysis.pareto import Candidate, Front, best_at, least_epsilon
from privlab.analysis.seeds import Band
from privlab.charts.bands import add_band
from privlab.charts.figure import ACROSS, base_layout, below, heading, metric_axis, origins, plain, published, x_axis
from privlab.charts.live import Mark, level_name
from privlab.charts.style import COLOURS, PROVENANCE, Style
from privlab.metrics import METRICS, Metric

#: Names of the lines that a person drags, in ``layout.shapes``; the page shows the figure with ``edits.shapePosition``.
EPSILON_LINE, VALUE_LINE = "read at ε", "read at value"
_FRONT, _BEHIND, _LINES = COLOURS[0], COLOURS[7], COLOURS[1]
_BANDS = COLOURS[3:7]
#: Size of the marks of chosen results, pixels.
_CHOSEN = 19


def pareto_figure(
    front: Front,
    bands: Mapping[str, Band] | None = None,
    references: Iterable[Mark] = (),
    *,
    epsilon: float | None = None,
    value: float | None = None,
    log: bool = True,
    colours: Mapping[str, str] | None = None,
    chosen: Collection[str] = (),
) -> go.Figure:
    """Results against ε; the stair is the best that each budget allows.

    Filled circles were trained here, open squares imported, open stars published. Bars are 95 % intervals of a mean over
    seeds: a point without one is a single run. Results without a guarantee are levels at ε = ∞ and beat nobody.

    Args:
        front: of :func:`privlab.analysis.pareto.fronts`.
        bands: mean and interval along ε of groups on the front, by name in the legend; at most four are drawn.
        references: published accuracies, for a front of the test accuracy only. They take no part in the front.
        epsilon, value: where the two reading lines stand; None takes the middle of what is drawn. Each can be dragged (shapes
            of the names :data:`EPSILON_LINE` and :data:`VALUE_LINE`), and :func:`reading` says what they tell.
        log: a logarithmic ε axis.
        colours: of points by the id of their first run, in the place of the two that tell the front from the rest.
        chosen: ids of runs whose points are drawn large. ``ids`` of every trace of results are those of the first runs.
    """
    told = METRICS[front.metric]
    members = [*front.on, *front.behind]
    sources = [run.provenance for each in (*members, *front.without) for run in each.group.runs]
    title = heading(f"{told.label}: the best at each ε", [told.release])
    figure = go.Figure(
        layout=base_layout(
            height=460,
            title=below(title, str(front.promise) if members else "", origins(sources)),
            xaxis=x_axis("epsilon", log),
            xaxis2=ACROSS,
            yaxis=metric_axis(told),
        )
    )
    if not members and not front.without:
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        figure.add_annotation(
            text="No result yet: launch a run, or clear the filters", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper"
        )  # fmt: skip
        return figure
    for colour, (name, band) in zip(_BANDS, (bands or {}).items(), strict=False):
        add_band(figure, name, band, Style(colour, "solid", "circle"), told)
    if front.on:
        # A larger budget allows what a smaller one did, so the last stair goes on.
        widest = max(each.epsilon for each in members)
        figure.add_scatter(
            x=[*(each.epsilon for each in front.on), widest], y=[*(each.value for each in front.on), front.on[-1].value],
            mode="lines", name="best at each ε",
            line={"color": _FRONT, "width": 2.5, "shape": "hv"}, hoverinfo="skip",
        )  # fmt: skip
    for which, name, colour, size in (
        (front.on, "on the front", _FRONT, 11),
        (front.behind, "beaten by another", _BEHIND, 8),
    ):
        for source, (symbol, words) in PROVENANCE.items():
            found = [each for each in which if each.group.first.provenance == source]
            if found:
                ink = [colours.get(each.group.first.id, colour) for each in found] if colours else colour
                figure.add_trace(_points(found, f"{name}, {words}", ink, size, symbol, told, set(chosen)))
    for place, each in enumerate(front.without[:3]):
        figure.add_trace(_level(each, told, place))
    marks = list(references) if front.metric == "test_accuracy" else []
    if marks:
        look = {"symbol": PROVENANCE["reference"][0], "size": 11, "color": _BEHIND}
        figure.add_trace(published(marks, "published, not compared", look))
    if members:
        _add_lines(figure, members, told, epsilon, value, log)
    if any(each.epsilon > 0 for each in members):
        _keep_ends(figure, front, marks, log)
    if log:
        shown = [each.epsilon for each in members] + [mark.epsilon for mark in marks]
        figure.layout.xaxis.update({"dtick": "D2"} if shown and max(shown) / min(shown) >= 4 else {"nticks": 6})
    return figure


def _keep_ends(figure: go.Figure, front: Front, marks: Sequence[Mark], log: bool) -> None:
    """Axes that end where the results do, so that bands of what is chosen neither widen nor move them."""
    members = [*front.on, *front.behind]
    spent = [each.epsilon for each in (*members, *marks) if not log or each.epsilon > 0]
    values = [end for each in (*members, *front.without[:3]) for end in (each.value, each.low, each.high)]
    values = [value for value in (*values, *(mark.value for mark in marks)) if math.isfinite(value)]
    for axis, ends in (("xaxis", [math.log10(each) for each in spent] if log else spent), ("yaxis", values)):
        low, high = min(ends), max(ends)
        room = 0.07 * (high - low) or 0.1 * abs(high) or 0.1
        figure.layout[axis].range = [low - room, high + room]


def reading(front: Front, epsilon: float, value: float) -> tuple[str, str]:
    """What the two lines tell: the best with a budget of ``epsilon``, and the least ε for ``value``."""
    told = METRICS[front.metric]
    best, least = best_at(front, epsilon), least_epsilon(front, value)
    within = (
        f"With ε ≤ {epsilon:.3g}: {told.show(best.value)} at best ({best.label})."
        if best
        else f"No result has ε ≤ {epsilon:.3g}."
    )
    needs = (
        f"{told.show(value)} needs ε = {least.epsilon:.3g} at least, of what was measured ({least.label})."
        if least
        else f"No result with a guarantee reaches {told.show(value)}."
    )
    return within, needs


def resting_on(each: Candidate, told: Metric) -> str:
    """How many runs a result is the mean of, and how sure that is."""
    if each.n == 1:
        return "one run: another seed may give something else"
    if math.isnan(each.low):
        return f"{each.n} runs"
    return f"mean of {each.n} runs, 95 % interval {told.show(each.low)} to {told.show(each.high)}"


def _points(
    found: Sequence[Candidate],
    name: str,
    colour: str | list[str],
    size: int,
    symbol: str,
    told: Metric,
    chosen: set[str],
) -> go.Scatter:
    large = [place for place, each in enumerate(found) if chosen.intersection(run.id for run in each.group.runs)]
    known = [not math.isnan(each.low) for each in found]
    return go.Scatter(
        x=[each.epsilon for each in found],
        y=[each.value for each in found],
        mode="markers",
        name=name,
        ids=[each.group.first.id for each in found],
        marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 2, "color": colour}},
        # Unlike a trace of their own, the sizes of the chosen leave the axes where they are.
        selectedpoints=large or None,
        selected={"marker": {"size": _CHOSEN, "opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [each.high - each.value if there else 0 for each, there in zip(found, known, strict=True)],
            "arrayminus": [each.value - each.low if there else 0 for each, there in zip(found, known, strict=True)],
            # Plotly knows one colour for all bars of a trace.
            "color": colour if isinstance(colour, str) else _BEHIND,
            "thickness": 1.5,
            "width": 4,
            "visible": any(known),
        },
        customdata=[[plain(each.label), resting_on(each, told)] for each in found],
        hovertemplate=(
            f"%{{customdata[0]}}<br>{told.label}: %{{y:{_format(told)}}}<br>ε = %{{x:.4~g}}<br>%{{customdata[1]}}<extra></extra>"
        ),
    )


def _level(each: Candidate, told: Metric, place: int) -> go.Scatter:
    name = level_name(plain(each.label))
    return go.Scatter(
        x=[0, 0.02 + 0.3 * place, 1],
        y=[each.value] * 3,
        xaxis="x2",
        mode="lines+text",
        name=name,
        text=["", name, ""],
        textposition="top right",
        ids=[each.group.first.id] * 3,
        line={"color": COLOURS[2], "dash": ("dash", "dot", "dashdot")[place], "width": 1.5},
        hovertemplate=f"{plain(each.label)}<br>%{{y:{_format(told)}}}, no guarantee<extra></extra>",
    )


def _add_lines(
    figure: go.Figure, members: Sequence[Candidate], told: Metric, epsilon: float | None, value: float | None, log: bool
) -> None:
    low, high = (pick(each.epsilon for each in members) for pick in (min, max))
    worst, best = (pick(each.value for each in members) for pick in (min, max))
    if epsilon is None:
        epsilon = math.sqrt(low * high) if log else (low + high) / 2
    value = (worst + best) / 2 if value is None else value
    look = {"type": "line", "line": {"color": _LINES, "width": 1.5, "dash": "dash"}, "editable": True}
    where = {"font": {"size": 11, "color": _LINES}}
    figure.add_shape(
        name=EPSILON_LINE, x0=epsilon, x1=epsilon, y0=0, y1=1, yref="paper",
        label={"text": f"ε = {epsilon:.3g}", "textangle": 0, "textposition": "start", "xanchor": "left", **where}, **look,
    )  # fmt: skip
    figure.add_shape(
        name=VALUE_LINE, x0=0, x1=1, xref="paper", y0=value, y1=value,
        label={"text": told.show(value), "textposition": "end", "xanchor": "right", "yanchor": "bottom", **where}, **look,
    )  # fmt: skip


def _format(told: Metric) -> str:
    return ".2%" if told.unit == "share" else ".4~g"
