"""Modes of encryption side by side on one job: what each costs, while the curves draw themselves."""

from __future__ import annotations

import secrets

import streamlit as st

from privlab.charts.encryption import step_cost_figure
from privlab.charts.live import compare_panels
from privlab.config import ConfigError, RunConfig, load_preset
from privlab.encryption.modes import MODES, predict
from privlab.metrics import PHASES, size
from privlab.models.catalogue import MODELS
from privlab.models.sizes import parameters
from privlab.preflight import preflight, trained_parameters
from privlab.runs import control
from privlab.runs.record import Run
from privlab.ui import labels, sitemap, urls
from privlab.ui.access import store
from privlab.ui.guard import attempted, escape, guarded, refuse
from privlab.ui.live import live_panel

#: Jobs to compare on, by preset and model: none needs a download, and the first takes seconds.
_JOBS = {
    "digits, logistic (650 parameters)": ("digits", "logistic"),
    "digits, MLP": ("digits", "mlp"),
    "digits, CNN": ("digits", "cnn"),
}
_BARE = {"displayModeBar": False}


@guarded()
def side_by_side() -> None:
    """Choose modes and a job, launch, watch."""
    with st.container(border=True):
        modes = st.pills(
            "Modes",
            list(MODES),
            selection_mode="multi",
            default=list(MODES),
            format_func=lambda mode: MODES[mode].title,
            key="sbs-modes",
            help="How parameters are kept between the steps; the training itself is the same in all of them.",
        )
        first, second, third, fourth = st.columns([3, 2, 2, 3], gap="medium", vertical_alignment="bottom")
        job = first.selectbox("Job", list(_JOBS), key="sbs-job", help="What each mode trains.")
        epochs = second.number_input(
            "Epochs", 1, 150, 60, key="sbs-epochs", help="Expected passes over the 1,442 training records."
        )
        owners = third.number_input(
            "Data owners",
            1,
            10,
            1,
            key="sbs-owners",
            help="Each holds its own part of the data, clips it and adds its share of the noise. Only in store modes; the "
            "others have one owner.",
        )
        same = fourth.toggle(
            "Same dice for all",
            True,
            key="sbs-same",
            help="All runs draw the same batches and the same noise, so that curves differ by the encryption alone. Such runs "
            "are reproducible and therefore not private.",
        )
        configs, problems = _configs(modes, job, int(epochs), int(owners), same)
        for problem in problems:
            st.warning(escape(problem))
        st.button(
            f"Launch {len(configs)} run{'s' * (len(configs) != 1)}",
            key="sbs-launch",
            type="primary",
            disabled=not configs,
            on_click=_launch,
            args=(configs,),
        )
    runs = _shown()
    if not runs:
        return _forecast(modes, job, int(owners))
    live_panel(
        "sbs-live",
        runs=labels.live_runs(runs, equal=True),
        panels=compare_panels(),
        marks=(),
        rerun_on_status=True,
        height=320,
    )
    _costs(tuple(run.id for run in runs))


def _configs(modes: list[str], job: str, epochs: int, owners: int, same: bool) -> tuple[list[RunConfig], list[str]]:
    """A run for each mode, and why some modes do not fit."""
    preset, model = _JOBS[job]
    configs, problems = [], []
    for mode in modes:
        base = load_preset(preset)
        try:
            config = base.replace(
                name=f"{model} · {mode}",
                model__name=model,
                training__epochs=epochs,
                training__curve_points=min(60, epochs * 5),
                encryption__mode=mode,
                encryption__owners=owners if MODES[mode].is_store else 1,
                privacy__randomness="reproducible" if same else "private",
            )
            preflight(config)
            configs.append(config)
        except ConfigError as error:
            problems += [f"{MODES[mode].title}: {problem.message}" for problem in error.problems]
    return configs, problems


def _launch(configs: list[RunConfig]) -> None:
    with attempted():
        try:
            group = secrets.token_hex(6)
            runs = [control.launch(store(), config, group=group) for config in configs]
        except ConfigError as error:
            return refuse("Nothing was launched. " + " ".join(problem.message for problem in error.problems))
        urls.show_runs(run.id for run in runs)


def _shown() -> list[Run]:
    wanted = urls.run_ids()
    known = {run.id: run for run in store().list()} if wanted else {}
    return [known[run_id] for run_id in wanted if run_id in known]


def _forecast(modes: list[str], job: str, owners: int) -> None:
    """What a step of each mode is expected to cost, before anything runs."""
    preset, model = _JOBS[job]
    count = parameters(model, preset)
    lines = []
    for mode in modes:
        facts = MODES[mode]
        cost = predict(mode, count, owners if facts.is_store else 1)
        price = (
            f"about {size(cost.sent)} up, {size(cost.received)} down and {1000 * cost.seconds:.2g} ms a step"
            if facts.is_store
            else "no traffic"
        )
        lines.append(f"- **{facts.title}** · {price}. Protects: {facts.protects[0].lower()}{facts.protects[1:]}")
    st.markdown(f"Expected for {count:,} parameters:\n" + "\n".join(lines))


@st.fragment(run_every=2.0)
@guarded()
def _costs(run_ids: tuple[str, ...]) -> None:
    """Time by phase, traffic, memory and drift, from the newest points."""
    runs = [store().get(run_id) for run_id in run_ids]
    measured = [run for run in runs if "time_gradients" in run.metrics]
    if not measured:
        st.caption("The cost of each mode stands here as soon as the first steps are measured.")
        return
    called = labels.names(measured)
    costs = {called[run.id]: {phase: run.metrics.get(f"time_{phase}", 0.0) for phase in PHASES} for run in measured}
    st.plotly_chart(step_cost_figure(costs), key="sbs-costs", config=_BARE)
    plain = next((run for run in measured if run.config.encryption.mode == "none"), None)
    st.dataframe(
        {
            "Mode": [called[run.id] for run in measured],
            "Test accuracy": [run.metrics.get("test_accuracy") for run in measured],
            "ε": [run.epsilon for run in measured],
            "A step": [_milliseconds(run) for run in measured],
            "× plain": [_ratio(run, plain) for run in measured],
            "Sent a step": [_traffic(run, "bytes_sent") for run in measured],
            "Received a step": [_traffic(run, "bytes_received") for run in measured],
            "Drift": [run.metrics.get("drift") for run in measured],
            "Server holds": [_server_size(run) for run in measured],
        },
        hide_index=True,
        key="sbs-table",
        placeholder="–",
        column_config={
            "Test accuracy": st.column_config.NumberColumn(format="percent"),
            "ε": st.column_config.NumberColumn(format="%.3f"),
            "Drift": st.column_config.NumberColumn(
                format="%.1e", help="Largest difference of a stored parameter to the same sum of updates in float64: fixed point, "
                "and the scheme's own error in CKKS."
            ),
        },
        alt="Cost of each mode",
    )  # fmt: skip
    sitemap.link_to_compare(run_ids, "Compare these runs in depth")


def _seconds(run: Run) -> float:
    return sum(run.metrics.get(f"time_{phase}", 0.0) for phase in PHASES)


def _milliseconds(run: Run) -> str:
    return f"{1000 * _seconds(run):.2f} ms"


def _ratio(run: Run, plain: Run | None) -> str:
    return f"{_seconds(run) / _seconds(plain):.1f}" if plain and _seconds(plain) else "–"


def _server_size(run: Run) -> str:
    mode = run.config.encryption.mode
    # A model that was added may be gone.
    if not MODES[mode].is_store or run.config.model.name not in MODELS:
        return "–"
    return f"about {size(predict(mode, trained_parameters(run.config)).server_bytes)}"


def _traffic(run: Run, metric: str) -> str:
    return size(run.metrics[metric]) if metric in run.metrics else "–"
