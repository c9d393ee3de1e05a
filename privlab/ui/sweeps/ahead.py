"""What a sweep would be: how many runs, how long, at what cost, and which combinations cannot be launched."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import islice

import streamlit as st

from privlab.analysis.settings import SETTINGS
from privlab.privacy.accounting import ONE
from privlab.privacy.selection import naive_epsilon, selection_epsilon
from privlab.runs.sweeprecord import Trial
from privlab.sweeps import control
from privlab.sweeps.control import Candidate
from privlab.sweeps.cost import worst_run
from privlab.sweeps.progress import predicted_seconds
from privlab.sweeps.results import Row
from privlab.sweeps.search import propose
from privlab.sweeps.space import in_words
from privlab.sweeps.spec import SweepSpec
from privlab.ui import labels
from privlab.ui.access import store
from privlab.ui.guard import escape
from privlab.ui.sweeps import words

#: Combinations are looked at for so long at one time, seconds; what was looked at is remembered.
_PATIENCE = 1.5
#: Combinations that the guess of the time rests on.
_TIMED = 4


def show_ahead(spec: SweepSpec) -> None:
    """Counts, time, cost and refusals of a sweep that reads well."""
    looked, whole = _look(spec)
    refused = [each for each in looked if each.refused]
    good = [each.checked for each in looked if each.checked]
    combinations, runs = st.columns(2)
    drawn = " on average" if spec.trials_drawn else ""
    combinations.metric("Combinations", f"{spec.most_trials:,}{drawn}")
    runs.metric(
        "Runs",
        f"{spec.most_runs:,}{drawn}",
        help="Each combination with each seed; fewer if a budget ends the sweep before.",
    )
    seconds = predicted_seconds(store(), spec, good[:_TIMED])
    st.markdown(
        f"Takes about **{labels.duration(seconds)}**, as earlier runs here."
        if seconds is not None
        else "How long it takes is not known: no run like these was trained here yet."
    )
    for problem in control.missing(spec):
        st.error(escape(problem.message))
    _cost(spec)
    if refused:
        checked = "" if whole else f" of the first {len(looked)}"
        one = len(refused) == 1 and whole
        with st.expander(
            f"{len(refused)}{checked} combination{'' if one else 's'} will be refused", expanded=len(refused) < 4
        ):
            for each in refused[:50]:
                st.markdown(f"**{escape(in_words(each.values))}**: {escape(each.refused)}")
    elif looked:
        st.caption(
            f"All {len(looked)} combinations can be launched."
            if whole and spec.method == "grid"
            else f"{len(looked)} {'combination was' if len(looked) == 1 else 'combinations were'} checked; the others are "
            "checked before their launch."
        )
    st.caption(words.SELECTION)


def show_nothing_ahead(problems: Mapping[str, list[str]]) -> None:
    """In place of that: why there is nothing to launch. What belongs to a field stands beside it."""
    st.markdown("This sweep cannot be launched yet: the reason stands beside each entry.")
    for path, messages in problems.items():
        label = SETTINGS[path.removeprefix("base.")].label if path.removeprefix("base.") in SETTINGS else path
        for message in messages:
            st.error(escape(f"{label}: {message}"))


def _cost(spec: SweepSpec) -> None:
    dataset = spec.base.data.dataset
    worst = None if "data.dataset" in spec.space.paths else worst_run(spec, dataset)
    if worst is None:
        st.markdown(
            "What the whole search can cost in ε is not bounded beforehand: a run may have no guarantee, or too "
            "many settings decide it."
        )
        return
    phase, delta, adjacency = worst
    all_runs = replace(phase, steps=phase.steps * spec.most_runs)
    together = naive_epsilon([[all_runs]], delta, adjacency=adjacency)
    alone = naive_epsilon([[phase]], delta, adjacency=adjacency)
    if spec.trials_drawn:
        trial = replace(phase, steps=phase.steps * spec.seeds)
        best = selection_epsilon([trial], delta, spec.trials, "geometric") if adjacency == ONE else None
        said = "not known" if best is None else f"ε = {best:.4g}"
        st.markdown(
            f"As many runs as there are on average cost **ε = {together:.4g}** together, at δ = {delta:g}. "
            "Publishing nothing but the best, "
            f"and never how many there were: **{said}**."
        )
        return
    st.markdown(
        f"All runs together cost at most **ε = {together:.4g}**, the costliest alone ε = {alone:.4g}, at δ = {delta:g}."
        + (" Results decide what is trained; this bound holds nevertheless." if spec.is_guided else "")
    )
    if spec.budget.epsilon is not None and spec.budget.epsilon < together:
        st.markdown(
            f"Your budget of ε = {spec.budget.epsilon:g} ends the sweep before that."
            + (
                " That this smaller number holds is not proved where results decide what is trained."
                if spec.is_guided
                else ""
            )
        )


def _look(spec: SweepSpec) -> tuple[list[Candidate], bool]:
    """Candidates as far as patience goes, and whether these are all."""
    text = spec.to_toml()
    until, looked = time.monotonic() + _PATIENCE, []
    for number in range(spec.most_trials if spec.method == "grid" else min(spec.most_trials, 5)):
        found = _candidate(text, number)
        if found is None:
            break
        looked.append(found)
        if time.monotonic() > until:
            break
    return looked, len(looked) == spec.most_trials


@lru_cache(maxsize=4096)
def _candidate(text: str, number: int) -> Candidate | None:
    """Combination ``number`` of a grid, or a drawn one as a sample of the others."""
    spec = _spec(text)
    if spec.method == "grid":
        return control.check_candidate(spec, spec.space.combination(number))
    values = next(islice(_drawn(spec), number, None), None)
    return None if values is None else control.check_candidate(spec, values)


def _drawn(spec: SweepSpec) -> Iterator[dict]:
    """Combinations such as a search draws, without any results."""
    sample = spec.replace(method="random", trials_drawn=False, prune="none")
    rows: list[Row] = []
    while (values := propose(sample, rows)) is not None:
        rows.append(Row(Trial(len(rows), values, None, 0.0), (), 1))
        yield values


@lru_cache(maxsize=16)
def _spec(text: str) -> SweepSpec:
    return SweepSpec.from_toml(text)
