"""One sweep, live: how far it is, what it found, what it costs, and what may be done to it."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from privlab.analysis.settings import SETTINGS
from privlab.charts.heatmap import heatmap_figure
from privlab.charts.parallel import parallel_figure
from privlab.charts.pareto import pareto_figure
from privlab.metrics import METRICS
from privlab.runs.sweeprecord import Sweep
from privlab.sweeps import control
from privlab.sweeps.figures import facts_of, fronts_of, grid_of, mapped
from privlab.sweeps.progress import Progress, progress
from privlab.sweeps.results import Row, Standing, spec_of, standing
from privlab.sweeps.space import in_words, shown
from privlab.ui import labels, sitemap, urls
from privlab.ui.access import store
from privlab.ui.guard import attempted, escape, explain, guarded
from privlab.ui.sweeps import words
from privlab.ui.sweeps.costcard import show_cost

#: Seconds between two looks while something can change; for many runs, of which each takes longer.
_EVERY, _EVERY_OF_MANY, _MANY = 2, 6, 200
_COST_EVERY = 15
_BUTTONS = (
    ("pause", "Pause", "Launches no more; what trains pauses after its present batch.", control.pause),
    ("resume", "Resume", "Goes on where it was.", control.resume),
    (
        "stop",
        "Stop",
        "Launches no more; what trains stops after its present batch. What was found stays.",
        control.stop,
    ),
)
_HEIGHT = 460
_QUIET = {"displayModeBar": False}


def one_sweep(sweep_id: str) -> None:
    """Everything about one sweep. The page itself is drawn once; fragments follow what changes."""
    sweep = store().sweep(sweep_id)
    over = _rests(sweep)
    every = _EVERY if spec_of(sweep).most_runs <= _MANY else _EVERY_OF_MANY

    @st.fragment(run_every=None if over else every)
    @guarded()
    def following() -> None:
        now = standing(store(), sweep_id)
        _header(now)
        _progress(now)
        _findings(now)
        _table(now)
        _refused(now)
        if _rests(now.sweep) != over:
            # From here on nothing moves by itself, or again does.
            st.rerun()

    @st.fragment(run_every=None if over else _COST_EVERY)
    @guarded()
    def costing() -> None:
        show_cost(standing(store(), sweep_id))

    following()
    costing()
    st.download_button(
        "Sweep, TOML",
        lambda: standing(store(), sweep_id).spec.to_toml(),
        file_name=f"privlab-sweep-{sweep_id}.toml",
        mime="application/toml",
        on_click="ignore",
        key="sweep-toml",
        help="The whole sweep as a file: run it again anywhere with “python -m privlab sweep run FILE.toml”.",
    )


def _rests(sweep: Sweep) -> bool:
    """Whether nothing of it changes by itself."""
    return sweep.state.is_over and sweep.settled


# What it is and what may be done -------------------------------------------------------------------------------------


def _header(now: Standing) -> None:
    sweep, spec = now.sweep, now.spec
    title, buttons = st.columns([3, 2], vertical_alignment="center")
    with title:
        st.title(escape(sweep.name), anchor=False)
        varied = ", ".join(SETTINGS[path].label for path in spec.space.paths)
        st.markdown(
            f"{words.state(sweep)} · {escape(words.method(spec.method))} over {escape(varied)} · "
            f"{spec.seeds} seed{'s' * (spec.seeds > 1)} each · sweep `{sweep.id}`, begun {labels.clock(sweep.created)}"
        )
        if sweep.reason:
            st.caption(escape(sweep.reason))
    with buttons, st.container(horizontal=True, gap="small", horizontal_alignment="right", key="sweep-buttons"):
        allowed = control.actions(sweep)
        for action, label, help, act in _BUTTONS:
            if action in allowed:
                st.button(label, key=f"sweep-{action}", help=help, on_click=_act, args=(act, sweep.id))
        if "extend" in allowed:
            with st.popover("Extend", help="More combinations, more seeds, or a larger budget."):
                _extend(now)
        if "delete" in allowed:
            st.button(
                "Forget",
                key="sweep-delete",
                help="Takes the sweep out of the list. Its runs stay, and count in the ledger.",
                on_click=_forget,
                args=(sweep.id,),
            )
        st.button(
            "All sweeps",
            key="sweep-all",
            type="tertiary",
            on_click=urls.show_sweep,
            args=(None,),
            help="Back to the list.",
        )


def _act(act, sweep_id: str) -> None:
    with attempted():
        act(store(), sweep_id)


def _forget(sweep_id: str) -> None:
    with attempted():
        control.delete(store(), sweep_id)
        urls.show_sweep(None)


def _extend(now: Standing) -> None:
    spec, asked = now.spec, {}
    if spec.trials is not None:
        asked["trials"] = st.number_input("More combinations", min_value=0, value=0, step=5, key="extend-trials")
    asked["seeds"] = st.number_input(
        "More seeds for each",
        min_value=0,
        value=0,
        step=1,
        key="extend-seeds",
        help="Trains every combination again with new seeds.",
    )
    for name, label, step in (
        ("runs", "More runs in the budget", 10),
        ("hours", "More hours in the budget", 1.0),
        ("epsilon", "More ε in the budget", 1.0),
    ):
        if getattr(spec.budget, name) is not None:
            asked[name] = st.number_input(
                label, min_value=type(step)(0), value=type(step)(0), step=step, key=f"extend-{name}"
            )
    if any(asked.values()):
        try:
            longer = control.extension(
                spec, **{"trials": 0, "seeds": 0, "runs": 0, "hours": 0.0, "epsilon": 0.0} | asked
            )
        except ValueError as error:
            st.error(escape(explain(error)))
            return
        st.markdown(f"The sweep would come to **{longer.most_runs:,}** runs at most instead of {spec.most_runs:,}.")
    st.caption("Made longer because of what was found, the search costs more than the ledger can prove.")
    st.button(
        "Extend",
        key="confirm-extend",
        type="primary",
        disabled=not any(asked.values()),
        on_click=_act,
        args=(lambda here, sweep_id: control.extend(here, sweep_id, **asked), now.sweep.id),
    )


# How far it is -------------------------------------------------------------------------------------------------------


def _progress(now: Standing) -> None:
    known = progress(store(), now)
    told = METRICS[now.spec.metric]
    bar, result = st.columns([3, 2], gap="medium", vertical_alignment="center")
    with bar:
        st.progress(min(1.0, known.share), text=_said(now, known))
    with result:
        found = words.best(now)
        if found:
            st.markdown(f"Best {told.label.lower()} **{escape(found[0])}** at {escape(found[1])}", help=words.SELECTION)
        else:
            st.markdown("Nothing has finished yet.")
    open_ids = [result.run.id for _, result in now.results if result.run and not result.is_over]
    ids = [*open_ids, *(r.run.id for _, r in now.results if r.run and r.is_over)][: urls.MOST_RUNS]
    if ids:
        sitemap.link_to_compare(ids, f"Curves of {'its' if len(ids) == now.launched else len(ids)} runs, live: Compare")


def _said(now: Standing, known: Progress) -> str:
    text = words.counts(known)
    if now.sweep.state.value == "running":
        text += f" · {words.left(known)}"
        if known.open:
            text += f" · {known.open} at work or next"
    return text


# What it found -------------------------------------------------------------------------------------------------------


def _findings(now: Standing) -> None:
    left, right = st.columns(2, gap="medium")
    void = _void(now)
    with left:
        _map(now, void)
    with right:
        found = fronts_of(now, void)
        if not found:
            st.info("The front appears with the first measured point.")
            return
        figure = pareto_figure(found[0])
        # Its two reading lines are for a page on which they can be dragged.
        figure.layout.shapes = ()
        st.plotly_chart(figure, key="sweep-front", config=_QUIET, alt=_front_in_words(now))
        if len(found) > 1:
            st.caption(f"{len(found) - 1} more data sets or promises have fronts of their own; Compare shows them.")


def _void(now: Standing) -> set[str]:
    ours = {result.kept.run_id for _, result in now.results}
    return {each.run_id for each in store().spent() if each.void and each.run_id in ours}


def _front_in_words(now: Standing) -> str:
    return f"{METRICS[now.spec.metric].label} of {now.launched} runs against ε"


def _map(now: Standing, void: set[str]) -> None:
    sides = mapped(now)
    if len(sides) < 2:
        figure = parallel_figure(facts_of(now, void), now.spec.metric, now.spec.space.paths)
        st.plotly_chart(
            figure, key="sweep-parallel", config=_QUIET, alt="One line a run through the settings that vary"
        )
        return
    x, y = sides[0], sides[1]
    if len(sides) > 2:
        across, up = st.columns(2)
        x = across.selectbox("Across", sides, format_func=_label, key="map-x")
        rest = [path for path in sides if path != x]
        y = up.selectbox("Up", rest, format_func=_label, key=f"map-y-{x}")
    grid = grid_of(now, x, y, void)
    if not grid.runs:
        st.info("The map fills in with the first run that finishes.")
        return
    figure = heatmap_figure(grid)
    # As high as the front beside it; a scale of one value would have made-up ends.
    figure.update_layout(height=max(figure.layout.height, _HEIGHT))
    figure.update_traces(showscale=int((grid.n > 0).sum()) > 1, selector={"type": "heatmap"})
    st.plotly_chart(figure, key="sweep-map", config=_QUIET, alt=_map_in_words(now, grid))


def _label(path: str) -> str:
    return SETTINGS[path].label


def _map_in_words(now: Standing, grid) -> str:
    told = METRICS[now.spec.metric]
    cells = [
        f"{shown(grid.x, x)}, {shown(grid.y, y)}: {told.show(float(grid.mean[row, column]))}"
        for row, y in enumerate(grid.y_values)
        for column, x in enumerate(grid.x_values)
        if not math.isnan(grid.mean[row, column])
    ]
    return f"Mean {told.label.lower()} by {_label(grid.x)} and {_label(grid.y)}: {'; '.join(cells[:50])}"


# Every trial ---------------------------------------------------------------------------------------------------------


def _table(now: Standing) -> None:
    rows = now.accepted
    st.subheader("Combinations", anchor=False)
    if not rows:
        st.caption("None was proposed yet.")
        return
    told = METRICS[now.spec.metric]
    best = now.best()
    frame = pd.DataFrame(
        {
            "No.": [row.trial.number + 1 for row in rows],
            **{_label(path): [shown(path, row.trial.values[path]) for row in rows] for path in now.spec.space.paths},
            "State": [_state(now, row) for row in rows],
            told.label: [row.mean(told.key) for row in rows],
            "± over seeds": [row.spread(told.key) for row in rows],
            "Seeds": [f"{len(row.values(told.key))} of {now.spec.seeds}" for row in rows],
            "ε": [_epsilon(row) for row in rows],
            "Best": ["★" if row is best else "" for row in rows],
            "Run": [f"run?run={row.results[0].run.id}" if row.results and row.results[0].run else None for row in rows],
            "Compare": [_compare(row) for row in rows],
            "Note": [_note(row) for row in rows],
        }
    )
    number = (
        st.column_config.NumberColumn(format="percent")
        if told.unit == "share"
        else st.column_config.NumberColumn(format="%.4g")
    )
    st.dataframe(
        frame,
        hide_index=True,
        height=min(38 + 35 * len(rows), 420),
        key="sweep-trials",
        column_config={
            "No.": st.column_config.NumberColumn(width=48),
            "Best": st.column_config.TextColumn(width=48),
            told.label: number,
            "± over seeds": number,
            "ε": st.column_config.TextColumn(
                alignment="right", help="Of one run; all runs together cost what stands below."
            ),
            "Run": st.column_config.LinkColumn(display_text="open", width="small", help="The run of the first seed."),
            "Compare": st.column_config.LinkColumn(
                display_text="open", width="small", help="All seeds over each other."
            ),
        },
        placeholder="–",
        alt="Combinations of the sweep with their results",
    )


def _state(now: Standing, row: Row) -> str:
    if row.state == "training" and all(result.is_over for result in row.results):
        return "next seed to come"
    if row.state == "training" and now.sweep.state.value != "running":
        return "halted"
    return row.state


def _epsilon(row: Row) -> str:
    if row.results and not row.is_private:
        return "∞"
    return "–" if row.epsilon is None else f"{row.epsilon:.3f}"


def _compare(row: Row) -> str | None:
    ids = [result.run.id for result in row.results if result.run and result.run.deleted is None]
    return f"compare?runs={','.join(ids)}" if ids else None


def _note(row: Row) -> str:
    notes = [result.kept.pruned for result in row.results if result.is_pruned]
    notes += [
        result.run.error for result in row.results if result.run and result.status == "failed" and result.run.error
    ]
    return " ".join(notes)


def _refused(now: Standing) -> None:
    if not now.refused:
        return
    count = len(now.refused)
    with st.expander(f"{count} combination{'s' * (count > 1)} refused: not launched"):
        for row in now.refused[:100]:
            st.markdown(f"**{escape(in_words(row.trial.values))}**: {escape(row.trial.refused)}")
        if count > 100:
            st.caption(f"And {count - 100} more.")
