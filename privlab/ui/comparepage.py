"""The parts of the page that compares runs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from privlab.charts.compare import Curve, overlay_figure
from privlab.charts.live import compare_panels, settings_line
from privlab.data.catalogue import DATASETS
from privlab.metrics import METRICS, UTILITY, Point
from privlab.models.catalogue import MODELS
from privlab.reports import points_csv, points_json, points_parquet
from privlab.runs.record import Run, Status
from privlab.ui import labels, urls
from privlab.ui.access import store
from privlab.ui.handing import PARQUET, report_buttons
from privlab.ui.live import live_panel
from privlab.ui.settings import SECTIONS, SETTINGS, differing, values_of
from privlab.ui.theme import STATUS_WORDS

_EVERY = "all"
#: The table draws at most this many runs; filters reach the others.
_ROWS = 500
#: What says how useful a model is.
_RESULTS = ("test_accuracy", "test_f1", "test_perplexity", "exposure_mean", "recited")


def table(runs: Sequence[Run], named: Sequence[str]) -> list[str]:
    """All runs with filters and a selection, which the address keeps. Returns the ids chosen, oldest choice first."""
    shown = _filtered(runs)[:_ROWS]
    if not shown:
        st.info("No run passes these filters. Clear one of them.")
        return list(named)
    places = [place for place, run in enumerate(shown) if run.id in named]
    ids = [run.id for run in shown]
    picked = st.dataframe(
        _frame(shown),
        # A selection is a list of row numbers: another list of rows is another table.
        key=f"runs-{hash(tuple(ids)) & 0xFFFFFFFF:x}",
        hide_index=True,
        height=min(38 + 35 * len(shown), 300),
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": places}},
        column_config={
            "Test accuracy": st.column_config.NumberColumn(format="percent"),
            "Test F1": st.column_config.NumberColumn(format="percent", help=METRICS["test_f1"].help),
            "Test perplexity": st.column_config.NumberColumn(format="%.2f", help=METRICS["test_perplexity"].help),
            "Exposure, mean": st.column_config.NumberColumn(format="%.1f bits", help=METRICS["exposure_mean"].help),
            "Secrets recited": st.column_config.NumberColumn(format="%d", help=METRICS["recited"].help),
            "ε": st.column_config.NumberColumn(format="%.3f", help="Spent so far; – means ∞ or nothing yet."),
            "Launched": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        },
        placeholder="–",
        alt="All runs; tick rows to compare them",
    )
    ticked = {ids[row] for row in picked["selection"]["rows"] if row < len(ids)}
    # Runs that the filters hide stay chosen.
    kept = [run_id for run_id in named if run_id in ticked or run_id not in ids]
    chosen = [*kept, *(run_id for run_id in reversed(ids) if run_id in ticked and run_id not in kept)]
    if chosen != list(urls.run_ids()):
        urls.show_runs(chosen)
    return list(urls.run_ids())


def _filtered(runs: Sequence[Run]) -> list[Run]:
    text, status, dataset, model = st.columns([3, 2, 2, 2])
    wanted = text.text_input("Search", placeholder="name or id", key="filter-text").strip().casefold()
    state = status.selectbox(
        "Status", [_EVERY, *Status], format_func=lambda s: STATUS_WORDS.get(s, _EVERY), key="filter-status"
    )
    data = dataset.selectbox("Data set", [_EVERY, *DATASETS], format_func=_title, key="filter-dataset")
    network = model.selectbox("Model", [_EVERY, *MODELS], format_func=_title, key="filter-model")
    return [
        run
        for run in runs
        if (wanted in run.name.casefold() or wanted in run.id)
        and state in (_EVERY, run.status)
        and data in (_EVERY, run.config.data.dataset)
        and network in (_EVERY, run.config.model.name)
    ]


def _title(key: str) -> str:
    facts = DATASETS.get(key) or MODELS.get(key)
    return facts.title if facts else key


def _frame(runs: Sequence[Run]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Name": [run.name or run.id for run in runs],
            "Status": [labels.state(run) for run in runs],
            **_measured(runs),
            "ε": [run.epsilon for run in runs],
            "δ": [f"{run.plan.delta:g}" for run in runs],
            "σ": [run.plan.noise_multiplier for run in runs],
            "C": [run.plan.max_grad_norm for run in runs],
            "Data set": [_title(run.config.data.dataset) for run in runs],
            "Model": [_title(run.config.model.name) for run in runs],
            "Step": [f"{run.step:,} of {run.steps:,}" for run in runs],
            "Time": [labels.duration(run.seconds) for run in runs],
            "Launched": pd.to_datetime([run.created for run in runs], unit="s", utc=True).tz_convert(_zone()),
            "Id": [run.id for run in runs],
        }
    )


def _measured(runs: Sequence[Run]) -> dict[str, list[float | None]]:
    """A column for each way to say how useful a model is that some run has been measured by; accuracy always."""
    keys = [key for key in _RESULTS if key == "test_accuracy" or any(key in run.metrics for run in runs)]
    return {METRICS[key].label: [run.metrics.get(key) for run in runs] for key in keys}


def _zone() -> str:
    return st.context.timezone or "UTC"


def _oldest_first(runs: Sequence[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: run.created)


def overlay(runs: Sequence[Run]) -> None:
    """The curves of ``runs`` over each other, live where they still train."""
    runs = _oldest_first(runs)
    marks, topics = labels.published(runs), labels.topics(run.config.data for run in runs)
    live_panel("compare-live", runs=labels.live_runs(runs, equal=True), panels=compare_panels(topics), marks=marks)

    def page() -> str:
        called, looks = labels.names(runs), labels.looks(runs)
        curves = [
            Curve(run.id, called[run.id], store().columns(run.id), settings_line(run.plan), looks[run.id])
            for run in runs
        ]
        metric = UTILITY["classify" if "classify" in topics else "language"].key
        return overlay_figure(curves, marks, metric=metric).to_html(include_plotlyjs=True, full_html=True)

    st.download_button(
        "Chart, HTML (works offline)", page, file_name="privlab-compare.html", mime="text/html", on_click="ignore",
        key="download-html", help="PNG and SVG: the buttons above the chart.",
    )  # fmt: skip


def differences(runs: Sequence[Run]) -> None:
    """Only the settings in which ``runs`` differ, one column a run."""
    st.subheader("What differs", anchor=False)
    runs = _oldest_first(runs)
    paths = differing([run.config for run in runs])
    if not paths:
        said = (
            "One run is chosen; tick another to see what differs." if len(runs) == 1 else "The settings are all alike."
        )
        st.caption(said)
        return
    called = labels.names(runs)
    flat = {run.id: values_of(run.config) for run in runs}
    frame = pd.DataFrame(
        {called[run.id]: [SETTINGS[path].show(flat[run.id][path]) for path in paths] for run in runs},
        index=pd.Index([f"{SECTIONS[path.split('.')[0]]}: {SETTINGS[path].label}" for path in paths], name="Setting"),
    )
    st.table(frame)


def everything_json(runs: Sequence[Run]) -> str:
    """Points, settings and claims of ``runs``; their events hold the self-checks, on which each claim rests."""
    return points_json(_curves(runs), {run.id: store().events(run.id) for run in runs})


def _curves(runs: Sequence[Run]) -> list[tuple[Run, list[Point]]]:
    return [(run, store().points(run.id)) for run in runs]


def downloads(runs: Sequence[Run]) -> None:
    """The points of ``runs`` as files."""
    st.subheader("Downloads", anchor=False)
    runs = _oldest_first(runs)

    with st.container(horizontal=True, gap="small", key="downloads"):
        st.download_button(
            "Points, CSV", lambda: points_csv(_curves(runs)), file_name="privlab-compare.csv", mime="text/csv",
            on_click="ignore", key="download-csv",
        )  # fmt: skip
        st.download_button(
            "Points, Parquet", lambda: points_parquet(_curves(runs)), file_name="privlab-compare.parquet", mime=PARQUET,
            on_click="ignore", key="download-parquet",
        )  # fmt: skip
        st.download_button(
            "Points and settings, JSON", lambda: everything_json(runs), file_name="privlab-compare.json",
            mime="application/json", on_click="ignore", key="download-json",
        )  # fmt: skip
        report_buttons(runs, "privlab-compare")
