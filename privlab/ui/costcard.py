"""What a step of the draft costs on this machine by each method, measured at the press of a button."""

from __future__ import annotations

import streamlit as st

from privlab.charts.cost import cost_figure
from privlab.metrics import Cost, Release, size
from privlab.models.catalogue import TRANSFORMERS
from privlab.preflight import Preflight
from privlab.runs import costs, measuring
from privlab.runs.costs import METHODS, Costs
from privlab.ui import labels
from privlab.ui.guard import attempted, escape, guarded

#: Other programs stretch a step noticeably from here on.
_BUSY = 1.3
#: A method is called quicker than another from here on: less is no more than chance.
_QUICKER = 1.1


@guarded()
def show_costs(checked: Preflight) -> None:
    """The card: a button, the measurement's progress, or what was measured before on this machine."""
    with st.container(border=True, key="cost"):
        st.subheader("Cost of a step, measured here", anchor=False)
        job = measuring.find(checked)
        if job and job.state == "running":
            _progress(checked)
            return
        known = costs.known(checked.config)
        if job and job.state == "failed":
            st.error(escape(f"Nothing new was measured. {job.message}"))
        elif job and job.state == "stopped":
            st.caption("The last measurement was stopped.")
        if known is None:
            st.caption(
                "Each gradient method does some steps of these settings on random numbers: how long a step takes, how much memory "
                "it needs, and how long the run would take. Takes some ten seconds for small models."
            )
        else:
            _show(checked, known)
        st.button(
            "Measure again"
            if known and known.covers(checked)
            else "Measure all"
            if known
            else "Measure on this machine",
            key="measure",
            on_click=_start,
            args=(checked,),
            help="Random numbers in the data's shape: no record is read, so it costs no privacy.",
            type="tertiary" if known else "secondary",
        )


def _start(checked: Preflight) -> None:
    with attempted():
        measuring.start(checked)


def _stop(checked: Preflight) -> None:
    if job := measuring.find(checked):
        job.stop()
        job.wait(5)


@st.fragment(run_every=0.5)
@guarded()
def _progress(checked: Preflight) -> None:
    job = measuring.find(checked)
    if job is None or job.state != "running":
        st.rerun()
    if job.waiting:
        words = "waiting for another measurement on this machine"
    elif job.method:
        words = f"measuring {METHODS[job.method]}"
    else:
        words = "starting"
    st.progress(job.done, text=words)
    st.button("Stop", key="stop-measuring", on_click=_stop, args=(checked,))


def _show(checked: Preflight, known: Costs) -> None:
    shown = {method: known.costs[method] for method in METHODS if method in known.costs}
    marked = costs.chosen(checked)
    if shown:
        totals = {method: known.run_seconds(checked, method) or 0.0 for method in shown}
        figure = cost_figure(
            [METHODS[method] for method in shown],
            [cost.seconds for cost in shown.values()],
            [f"{short(cost.seconds)} · {labels.duration(totals[m])}" for m, cost in shown.items()],
            [cost.memory for cost in shown.values()],
            [amount(cost.memory) for cost in shown.values()],
            list(shown).index(marked) if marked in shown else None,
            [
                f"{METHODS[m]}: median of {c.steps} steps, half of them within {short(c.low)} … {short(c.high)}"
                for m, c in shown.items()
            ],
        )
        st.plotly_chart(figure, key="cost-chart", config={"displayModeBar": False}, alt=in_words(checked, known))
    for method, why in known.failures.items():
        st.markdown(f"**{METHODS.get(method, escape(method))}** was not measured: {escape(why)}")
    st.caption(escape(_remarks(checked, shown, marked)))


def _remarks(checked: Preflight, shown: dict[str, Cost], marked: str) -> str:
    said = [f"The run is {checked.plan.steps:,} steps and the evaluations."]
    if marked == "plain":
        said.insert(0, "Nothing is clipped, so every method is plain SGD.")
    else:
        said.insert(0, "▸ is the method that these settings choose.")
    ways = {method: cost for method, cost in shown.items() if method != "plain"}
    if marked in ways:
        quickest = min(ways, key=lambda method: ways[method].seconds)
        ratio = ways[marked].seconds / ways[quickest].seconds
        if ratio > _QUICKER:
            said.append(f"{METHODS[quickest]} was {ratio:.1f} times as fast here.")
    busy = max((cost.busy or 0 for cost in shown.values()), default=0)
    if busy > _BUSY:
        said.append(f"Other programs used the processor too; beside them all takes up to {busy:.1f} times as long.")
    if checked.model.key in TRANSFORMERS:
        said.append("Each text was as long as the model reads; steps over shorter ones, as most are, take less.")
    if checked.config.encryption.is_store:
        said.append("What the encrypted store adds to each step is not in it.")
    devices = sorted({cost.device for cost in shown.values()})
    said += [f"Measured on: {', '.join(devices)} · {Release.OPERATIONAL}"] if devices else []
    return " ".join(said)


def in_words(checked: Preflight, known: Costs) -> str:
    """The chart for who cannot see it."""
    return "; ".join(
        f"{METHODS[m]}: {short(c.seconds)} a step, {amount(c.memory)}" for m, c in known.costs.items() if m in METHODS
    )


def short(seconds: float) -> str:
    """Seconds of one step."""
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def amount(memory: int | None) -> str:
    return "not known" if memory is None else size(memory)
