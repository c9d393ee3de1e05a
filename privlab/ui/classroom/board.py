"""Everyone's points on one chart, and how all stand; both follow what happens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace

import pandas as pd
import streamlit as st

from privlab.charts.live import compare_panels, settings_line
from privlab.charts.style import style
from privlab.classroom.session import Session, standings
from privlab.runs.store import ClassRun, Participant
from privlab.ui import labels
from privlab.ui.access import store
from privlab.ui.classroom.participant import own_runs
from privlab.ui.guard import guarded
from privlab.ui.live import LiveRun, live_panel, live_run
from privlab.ui.urls import MOST_RUNS

#: Seconds between two looks at who has joined and what was launched; points of known runs come by themselves.
_EVERY = 1.0
#: Pixels of the chart; before a projector's page is magnified.
_HEIGHT, _LARGE = 440, 460


def board(session: Session, me: Participant | None = None, *, large: bool = False) -> None:
    """The chart of all runs, the participant's own runs, and how all stand. ``large``: for a projector."""

    @st.fragment(run_every=_EVERY)
    @guarded()
    def follow() -> None:
        people, runs = store().participants(session.id), store().class_runs(session.id)
        shown = [each for each in runs if each.run.deleted is None][-MOST_RUNS:]
        topics = labels.topics(each.run.config.data for each in shown) or {"classify"}
        live_panel(
            "class-board",
            runs=_dressed(people, shown),
            panels=compare_panels(topics - {"secrets"})[: 1 if large else None],
            marks=labels.published([each.run for each in shown]) if shown else (),
            height=_LARGE if large else _HEIGHT,
            columns=1,
            empty="Nobody has launched a run yet. Points appear here for everybody as they come.",
        )
        if len(runs) > len(shown):
            st.caption(f"The newest {len(shown)} of {len(runs)} runs are drawn; all count below.")
        if me is not None:
            st.subheader("Your runs", anchor=False)
            own_runs(me, runs)
        st.subheader(f"{len(people)} taking part" if people else "Nobody has joined yet", anchor=False)
        if people:
            _standings(session, people, runs)

    follow()


def _dressed(people: Sequence[Participant], runs: Sequence[ClassRun]) -> list[LiveRun]:
    """Each person has one look; their runs are numbered."""
    places = {who.id: place for place, who in enumerate(people)}
    turns: dict[str, int] = {}
    found = []
    for each in runs:
        turn = turns[each.participant.id] = turns.get(each.participant.id, 0) + 1
        look = asdict(style(places[each.participant.id]))
        found.append(
            replace(
                live_run(each.run),
                label=f"{each.participant.name} {turn}",
                settings=settings_line(each.run.plan),
                **look,
            )
        )
    return found


def _standings(session: Session, people: Sequence[Participant], runs: Sequence[ClassRun]) -> None:
    found = standings(store(), people, runs)
    best = [each.best for each in found]
    columns = {
        "Name": [each.participant.name for each in found],
        "Runs": [each.runs for each in found],
        "Best accuracy": [pair[0] if pair else None for pair in best],
        "at ε": ["–" if pair is None else _epsilon(pair[1]) for pair in best],
        "ε spent": [_epsilon(each.spent) for each in found],
    }
    if session.lesson.guess:
        columns["Guesses off by"] = [each.error for each in found]
    percent = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        pd.DataFrame(columns), hide_index=True, key="class-standings", placeholder="–", alt="How all stand",
        column_config={
            "Best accuracy": percent,
            "Guesses off by": st.column_config.NumberColumn(
                format="percent", help="Mean distance between guess and result, over the runs that have ended."
            ),
            "ε spent": st.column_config.TextColumn(
                help="What all runs of the person on one data set cost together, running ones counted to their planned end."
            ),
        },
    )  # fmt: skip


def _epsilon(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:.3g}"
