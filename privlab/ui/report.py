"""The report of runs, put together from the store; the pages offer it, and so does the command line. Needs no page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from privlab.charts.compare import Curve, overlay_figure
from privlab.charts.live import compare_panels, reference_marks, run_panels, settings_line
from privlab.charts.still import shared_part, still_figure
from privlab.charts.style import Style, of_origin, styles
from privlab.data.catalogue import DATASETS
from privlab.data.references import references
from privlab.reports.claim import claim
from privlab.reports.page import Chart, Subject, page, provenance
from privlab.runs.ledger import ledger
from privlab.runs.record import Run
from privlab.runs.store import Store
from privlab.ui.settings import SECTIONS, SETTINGS, applies, values_of


def report(
    store: Store,
    runs: Sequence[Run],
    *,
    names: Mapping[str, str] | None = None,
    looks: Mapping[str, Style] | None = None,
) -> str:
    """One HTML file about ``runs`` (see :func:`privlab.reports.page.page`).

    Args:
        runs: at least one.
        names: what each is called, by id; its name or id otherwise.
        looks: how each is drawn, by id.
    """
    names = names or {run.id: run.name or run.id for run in runs}
    if looks is None:
        looks = styles([run.id for run in runs])
        looks = {run.id: of_origin(looks[run.id], run.is_imported) for run in runs}
    subjects = [_subject(store, run, names[run.id]) for run in runs]
    curves = [
        Curve(run.id, names[run.id], store.columns(run.id), settings_line(run.plan), looks[run.id]) for run in runs
    ]
    if len(runs) == 1:
        title = f"{names[runs[0].id]} on {_dataset(runs[0])}"
        return page(title, subjects, _of_one(runs[0], subjects, curves))
    datasets = dict.fromkeys(_dataset(run) for run in runs)
    return page(f"{len(runs)} runs on {', '.join(datasets)}", subjects, _of_several(runs, subjects, curves))


def _dataset(run: Run) -> str:
    key = run.config.data.dataset
    return DATASETS[key].title if key in DATASETS else key


def _subject(store: Store, run: Run, name: str) -> Subject:
    events = tuple(store.events(run.id))
    said = claim(run, events, ledger(store, run.config.data.dataset))
    values = values_of(run.config)
    rows = tuple(
        (SECTIONS[path.split(".")[0]], SETTINGS[path].label_and_unit, SETTINGS[path].show(value))
        for path, value in values.items()
        if path != "name" and value is not None and applies(path, values)
    )
    return Subject(run, name, said, events, rows)


def _chart(figure: go.Figure, below: tuple[str, ...]) -> Chart:
    # Plotly's own lines are white on grey, and paper is white.
    return Chart(figure.update_layout(template="plotly_white").to_json(), below)


def _utility(runs: Sequence[Run], subjects: Sequence[Subject], curves: Sequence[Curve], metric: str) -> list[Chart]:
    """How useful the models are against ε; without any guarantee against the steps."""
    if not any(len(curve.columns.get(metric, ())) for curve in curves):
        return []
    private = any(run.plan.is_private for run in runs)
    datasets = {run.config.data.dataset for run in runs}
    published = references(*datasets) if private and metric == "test_accuracy" and len(datasets) == 1 else ()
    marks = reference_marks(published)
    figure = overlay_figure(curves, marks, x="epsilon" if private else "step", metric=metric)
    return [_chart(figure, provenance(subjects, [f"{mark.label} ({mark.source})" for mark in marks]))]


def _of_one(run: Run, subjects: Sequence[Subject], curves: Sequence[Curve]) -> list[Chart]:
    facts = DATASETS.get(run.config.data.dataset)
    two = facts is not None and facts.classes == 2
    first, *others = run_panels(run.plan, run.config.data.task, two, bool(run.config.data.secrets))
    found = _utility([run], subjects, curves, first.metrics[0])
    for panel in others:
        kept = shared_part(panel)
        figure = still_figure(kept, curves[0].columns) if kept else None
        if figure is not None:
            found.append(_chart(figure, provenance(subjects)))
    return found


def _of_several(runs: Sequence[Run], subjects: Sequence[Subject], curves: Sequence[Curve]) -> list[Chart]:
    topics = {run.config.data.task for run in runs} | {"secrets" for run in runs if run.config.data.secrets}
    found: list[Chart] = []
    for panel in compare_panels(topics):
        metric = panel.metrics[0]
        if panel.x is None:
            found += _utility(runs, subjects, curves, metric)
        elif any(metric in curve.columns for curve in curves):
            figure = overlay_figure(curves, x=panel.x, metric=metric)
            found.append(_chart(figure, provenance(subjects)))
    return found
