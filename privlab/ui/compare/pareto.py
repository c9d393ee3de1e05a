"""The front of privacy and usefulness over all runs that pass the filter, with two lines to read it by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import streamlit as st

from privlab.analysis.pareto import Candidate, Front, best_at, fronts, least_epsilon
from privlab.analysis.seeds import Group, band, groups
from privlab.charts.colouring import colouring
from privlab.charts.pareto import EPSILON_LINE, VALUE_LINE, pareto_figure, reading, resting_on
from privlab.data.catalogue import DATASETS
from privlab.metrics import METRICS
from privlab.ui import labels, sitemap
from privlab.ui.access import store
from privlab.ui.compare import state
from privlab.ui.compare.curves import colour_legend
from privlab.ui.compare.library import Entry, library
from privlab.ui.compare.view import View
from privlab.ui.figure import touched_figure
from privlab.ui.guard import escape

#: Bands of the chosen groups in the figure.
_BANDS = 4
_LINES = {EPSILON_LINE: "eps", VALUE_LINE: "level"}


def pareto(shown: Sequence[Entry], chosen: Sequence[Entry], view: View, metric: str) -> None:
    """The figure and what its lines tell. ``shown`` are the candidates; groups among ``chosen`` add their bands."""
    if not METRICS[metric].better:
        st.info(f"{METRICS[metric].label} has no better direction, so there is no front; choose another metric.")
        return
    facts = [entry.facts for entry in shown]
    candidates = groups(facts) if view.grouped else [Group((run,)) for run in facts if not run.void]
    found = fronts(candidates, metric)
    if not found:
        st.info(
            f"No run here has a {METRICS[metric].label.lower()} yet. Launch one, clear the filter, or choose another metric."
        )
        return
    front = _choice(found, view)
    members = [*front.on, *front.behind]
    if not members:
        st.info("No run here claims a finite ε, so there is no front: what there is are levels at ε = ∞.")
    epsilon, level = _lines(front, members, view)
    curves = groups(library(store()).with_curves(chosen))[:_BANDS] if view.grouped else []
    bands = {group.label: band(group, metric) for group in curves if group.n > 1}
    known = {entry.id: entry.run for entry in shown}
    runs = [known[run.id] for each in (*members, *front.without) for run in each.group.runs]
    colours = colouring([run for each in members for run in each.group.runs], view.colour) if view.colour else None
    figure = pareto_figure(
        front, bands, labels.published(runs), epsilon=epsilon, value=level, colours=colours and colours.by_run,
        chosen=view.runs,
    )  # fmt: skip
    by_run = {run.id: each for each in (*members, *front.without) for run in each.group.runs}
    left, right = st.columns([3, 1], gap="medium")
    with left:
        if colours:
            colour_legend(colours)
        said = f"{METRICS[metric].label} against ε of {front.chosen_among} results; {len(front.on)} are on the front"
        touched_figure("pareto-figure", figure, said, on_move=_moved, on_click=lambda run_id: _clicked(by_run, run_id))
        if view.point in by_run:
            _card(front, by_run[view.point], view)
        else:
            st.caption("Click a result to choose it. Large marks are chosen.")
    with right:
        if members:
            _readers(front, epsilon, level)
    if front.caution:
        st.caption(escape(front.caution))


def _moved(name: str, value: float) -> None:
    if name in _LINES:
        state.change(**{_LINES[name]: float(f"{value:.4g}")})


def _clicked(by_run: Mapping[str, Candidate], run_id: str) -> None:
    """The clicked result is chosen, and its card opens."""
    if run_id in by_run:
        state.choose(run.id for run in by_run[run_id].group.runs)
        state.change(point=run_id)


def _card(front: Front, each: Candidate, view: View) -> None:
    """What was clicked, and where to go from there."""
    told, run = METRICS[front.metric], each.group.first
    if each in front.without:
        where = "at ε = ∞. It promises nothing, so it stands apart"
    else:
        on = (
            "On the front: no other result is as good at so small an ε"
            if each in front.on
            else "Beaten by another result"
        )
        where = f"at ε = {each.epsilon:.4g}. {on}"
    with st.container(border=True, key="point-card"):
        st.markdown(f"**{escape(each.label)}**: {told.show(each.value)} ({escape(resting_on(each, told))}) {where}.")
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            sitemap.link_to_run(run.id, "Open the run" if each.n == 1 else "Open its first run")
            ids = tuple(run.id for run in each.group.runs)
            if set(ids) <= set(view.runs):
                st.button(
                    "Untick",
                    key="point-untick",
                    on_click=state.unchoose,
                    args=(ids,),
                    help="Takes it out of the chosen.",
                )
            else:
                st.button(
                    "Choose", key="point-choose", on_click=state.choose, args=(ids,), help="Ticks it in the table."
                )
            st.button("Close", key="point-close", type="tertiary", on_click=state.change, kwargs={"point": ""})


def _choice(found: Sequence[Front], view: View) -> Front:
    """The front that is looked at; a choice where runs stand on several data sets or under several promises."""
    by_key = {_key(front): front for front in found}
    key = view.front if view.front in by_key else _key(found[0])
    if len(found) > 1:
        st.selectbox(
            "Data set and promise",
            list(by_key),
            format_func=lambda each: _words(by_key[each]),
            help="Values of ε under different δ, or on different data, cannot be set beside each other.",
            **state.shows("front", "compare-front", key),
        )
    return by_key[key]


def _key(front: Front) -> str:
    promise = front.promise
    delta = "" if promise.delta is None else f"{promise.delta:g}"
    return "~".join((front.dataset, delta, promise.adjacency, str(promise.owners)))


def _words(front: Front) -> str:
    facts = DATASETS.get(front.dataset)
    title = facts.title if facts else front.dataset
    return f"{title}, {front.promise}: {front.chosen_among} results"


def _lines(front: Front, members: Sequence[Candidate], view: View) -> tuple[float, float]:
    """Where the two lines stand: where the person left them, else in the middle of the results."""
    if not members:
        return math.nan, math.nan
    spent, values = [each.epsilon for each in members], [each.value for each in members]
    epsilon = math.sqrt(min(spent) * max(spent)) if math.isnan(view.eps) else view.eps
    level = (min(values) + max(values)) / 2 if math.isnan(view.level) else view.level
    return float(f"{epsilon:.4g}"), float(f"{level:.4g}")


def _readers(front: Front, epsilon: float, level: float) -> None:
    """The same two lines as fields, and what they tell."""
    told = METRICS[front.metric]
    within, needs = reading(front, epsilon, level)
    st.number_input(
        "Best with ε at most",
        min_value=1e-6,
        step=_step(epsilon),
        format="%.4g",
        help="The upright line; drag it, or type.",
        **state.shows("eps", "compare-eps", epsilon),
    )
    st.markdown(f":material/arrow_right_alt: {escape(within)}")
    if best := best_at(front, epsilon):
        _links(best, "best")
    scale = 100 if told.unit == "share" else 1
    st.number_input(
        f"Least ε for {told.label.lower()}" + (" (%)" if scale == 100 else ""),
        min_value=1e-9,
        step=_step(scale * level),
        format="%.4g",
        help="The level line; drag it, or type.",
        **state.shows("level", "compare-level", level, scale),
    )
    st.markdown(f":material/arrow_right_alt: {escape(needs)}")
    if least := least_epsilon(front, level):
        _links(least, "least")


def _links(candidate: Candidate, key: str) -> None:
    first = candidate.group.first
    sitemap.link_to_run(
        first.id, f"Open {candidate.label}" if candidate.n == 1 else f"Open {first.called}, one of them"
    )
    ids = tuple(run.id for run in candidate.group.runs)
    if not set(ids) <= set(state.view().runs):
        words = "Choose it" if len(ids) == 1 else f"Choose its {len(ids)} runs"
        st.button(words, key=f"choose-{key}", on_click=state.choose, args=(ids,), help="Ticks it in the table.")


def _step(value: float) -> float:
    return 10.0 ** math.floor(math.log10(value) - 1)
