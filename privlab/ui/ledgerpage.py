"""The parts of the Ledger: what all runs on a data set cost together."""

from __future__ import annotations

import csv
import io

import pandas as pd
import streamlit as st

from privlab.charts.ledger import ledger_figure
from privlab.data.catalogue import DATASETS
from privlab.metrics import show_epsilon
from privlab.privacy.pair import neighbours
from privlab.runs.ledger import Ledger, best_of, no_best, set_public
from privlab.runs.record import Spent
from privlab.sweeps.cost import search_costs
from privlab.sweeps.results import standing
from privlab.ui import labels, sitemap
from privlab.ui.access import store
from privlab.ui.guard import attempted, escape

_COLUMNS = ("Run", "Name", "State", "Launched", "Steps done", "Settings", "ε alone", "ε of all up to here")


#: Sweeps that the page adds up, the newest.
_SWEEPS = 20


def section(found: Ledger) -> None:
    """Everything about one data set."""
    title = DATASETS[found.dataset].title if found.dataset in DATASETS else found.dataset
    st.subheader(escape(title), anchor=False)
    st.toggle(
        "The records are public",
        value=found.public,
        key=f"public-{found.dataset}",
        on_change=_mark,
        args=(found.dataset,),
        help="Published records have nothing to protect. The claim cards of its runs say so.",
    )
    if found.public:
        st.info("Marked as public: ε is still counted, and protects nothing that is not known already.")
    figure, words = st.columns([3, 2], gap="medium")
    with words:
        _in_words(found)
        _searches(found)
    with st.spinner("Adding up the runs …"):
        rows = _rows(found)
    with figure:
        st.plotly_chart(
            ledger_figure(
                [f"{_name(each)} · {each.run_id[:4]}" for each in found.private], found.alone, found.cumulative
            ),
            key=f"ledger-{found.dataset}",
            config={"displayModeBar": False},
            alt=f"ε of {len(found.private)} runs on {title}, alone and together",
        )
    links = [None if row[2] == "removed" else f"run?run={row[0]}" for row in rows]
    st.dataframe(
        pd.DataFrame(rows, columns=_COLUMNS).assign(Page=links),
        column_order=("Page", *_COLUMNS),
        column_config={
            "Page": st.column_config.LinkColumn(display_text="open", width="small"),
            "ε alone": st.column_config.TextColumn(alignment="right"),
            "ε of all up to here": st.column_config.TextColumn(alignment="right"),
        },
        hide_index=True,
        key=f"table-{found.dataset}",
        alt=f"Runs on {title}",
    )
    st.download_button(
        "Ledger, CSV",
        lambda: _csv(rows),
        file_name=f"privlab-ledger-{found.dataset}.csv",
        mime="text/csv",
        on_click="ignore",
        key=f"csv-{found.dataset}",
    )


def _searches(found: Ledger) -> None:
    """What each sweep on these records costs by itself; its runs are in the table above."""
    spent = []
    for sweep in store().sweeps()[:_SWEEPS]:
        costs = search_costs(store(), standing(store(), sweep.id))
        spent += [(sweep, cost) for cost in costs if cost.ledger.dataset == found.dataset]
    for sweep, cost in spent:
        sitemap.link_to_sweep(
            sweep.id,
            f"Sweep {escape(sweep.name)}: {cost.ledger.runs} runs, together {show_epsilon(cost.ledger.epsilon)}"
            + (f" (not proved: {cost.adaptive})" if cost.adaptive else ""),
            help="Its page says what choosing the best of it costs, and on which condition.",
        )


def _in_words(found: Ledger) -> None:
    if found.unprotected:
        count = len(found.unprotected)
        st.warning(
            f"{count} run{'s' * (count > 1)} without a guarantee used these records: for everything together ε = ∞. "
            "The figures below leave them out."
        )
    if not found.private:
        return
    everything, best = st.columns(2)
    everything.metric(
        "Everything published",
        f"ε = {found.private_runs_epsilon:.4g}",
        help="All steps of all runs composed. It holds for whatever is published or chosen among these runs, if which runs "
        "there are, and how long each trained, was not decided by results.",
    )
    why_not = no_best(found)
    geometric = best_of(found, "geometric")
    best.metric(
        "Only the best, on a condition",
        "–" if geometric is None else f"ε = {geometric:.4g}",
        help="Papernot and Steinke 2022, theorem 2: the number of runs follows a geometric distribution and was drawn "
        "before the first one; nothing of the other runs is ever shown, nor how many there were. Each run is counted like "
        "the costliest.",
    )
    lines = [
        f"At δ = {found.delta:g}, {neighbours(found.adjacency, found.unit)}. {_mixed(found)}Deleted runs count: deleting takes nothing back."
    ]
    if why_not is not None:
        lines.append(f"The cost of publishing only the best is not known here: {why_not}.")
    else:
        lines.append(
            f"The second number **does not hold for runs that a person added until one was good**: it needs a number of runs "
            f"drawn at random beforehand (mean {len(found.private)}; geometric distribution, with a logarithmic one "
            f"ε = {best_of(found, 'logarithmic'):.4g}) and all other results kept secret. Otherwise the first number is "
            "what choosing the best costs."
        )
    st.markdown("\n\n".join(lines))


def _mixed(found: Ledger) -> str:
    """Why the numbers are for records where some runs protect users."""
    if found.unit == "user" or not any(each.plan.unit == "user" for each in found.private):
        return ""
    return (
        "Some runs protect a user and some a record only: together they protect a record, whose replacement by another each of them "
        "hides. "
    )


def _rows(found: Ledger) -> list[tuple]:
    spent = [
        (*_who(each), f"{alone:.4g}", f"{total:.4g}")
        for each, alone, total in zip(found.private, found.alone, found.cumulative, strict=True)
    ]
    return spent + [(*_who(each), "∞", "∞") for each in found.unprotected]


def _who(each: Spent) -> tuple:
    return each.run_id, each.name, each.state, labels.clock(each.created), each.step, _settings(each)


def _settings(each: Spent) -> str:
    """What tells runs apart: clip, noise and batch in one line."""
    plan = each.plan
    clip = "no clipping" if plan.max_grad_norm is None else f"{plan.clipping} clipping C = {plan.max_grad_norm:g}"
    parts = [clip, f"σ = {plan.noise_multiplier:.4g}", f"B = {plan.batch_size:,}"]
    if not plan.clip_schedule.is_constant:
        parts.append(f"C {plan.clip_schedule.kind}")
    if not plan.noise_schedule.is_constant:
        parts.append(f"σ {plan.noise_schedule.kind}")
    if plan.bands > 1:
        parts.append(f"noise correlated over {plan.bands} steps")
    if plan.rounded:
        parts.append("rounded noise")
    if each.randomness == "reproducible":
        parts.append("known seed")
    if each.void:
        parts.append("claim void")
    if each.imported:
        parts.append("imported: trained elsewhere")
    return ", ".join(parts)


def _name(each: Spent) -> str:
    return each.name or each.run_id


def _csv(rows: list[tuple]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    # A name must not become a spreadsheet's formula.
    writer.writerows((row[0], f"'{row[1]}" if row[1][:1] in tuple("=+-@\t\r") else row[1], *row[2:]) for row in rows)
    return out.getvalue()


def _mark(dataset: str) -> None:
    with attempted():
        set_public(store(), dataset, st.session_state[f"public-{dataset}"])
