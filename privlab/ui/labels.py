"""Runs as people read them: names that tell runs apart, numbers with their meaning."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace

from privlab.charts.live import Mark, reference_marks
from privlab.charts.style import Style, of_origin, style
from privlab.config import DataConfig
from privlab.data.references import references
from privlab.metrics import UTILITY
from privlab.runs.record import Run
from privlab.ui.access import store
from privlab.ui.live import LiveRun, live_run
from privlab.ui.theme import STATUS_WORDS


def names(runs: Sequence[Run]) -> dict[str, str]:
    """A name for each run; runs of the same name get the beginning of their id, and what was imported says so."""
    plain = {run.id: f"{run.name or run.id}{' (imported)' if run.is_imported else ''}" for run in runs}
    often = Counter(plain.values())
    return {run_id: name if often[name] == 1 else f"{name} · {run_id[:4]}" for run_id, name in plain.items()}


#: Place of each run among all that were ever launched here, as far as looked up.
_places: dict[str, int] = {}


def looks(runs: Sequence[Run]) -> dict[str, Style]:
    """Colour, dash and symbol of each run: the same on every page and beside whichever other runs."""
    global _places
    if any(run.id not in _places for run in runs):
        # Deleted runs keep their place, so that no other run changes its colour when one goes.
        _places = {run.id: place for place, run in enumerate(reversed(store().list(deleted=None)))}
    return {run.id: of_origin(style(_places.get(run.id, 0)), run.is_imported) for run in runs}


def live_runs(runs: Sequence[Run], *, equal: bool = False) -> list[LiveRun]:
    """``runs`` for the live panel, oldest first.

    What trains, or else what was launched last, is drawn strong; with ``equal`` every run is.
    """
    runs = sorted(runs, key=lambda run: run.created)
    if equal:
        return _dressed(runs, {run.id for run in runs})
    strong = {run.id for run in runs if not run.status.is_over}
    if runs and not strong:
        last = runs[-1]
        strong = {run.id for run in runs if run.id == last.id or (last.group and run.group == last.group)}
    return _dressed(runs, strong)


def _dressed(runs: Sequence[Run], strong: set[str]) -> list[LiveRun]:
    called, look = names(runs), looks(runs)
    return [
        replace(live_run(run, active=run.id in strong), label=called[run.id], **asdict(look[run.id])) for run in runs
    ]


def published(runs: Sequence[Run], otherwise: str | None = None) -> tuple[Mark, ...]:
    """Published results for a chart of ``runs``: those of their data set, none where they have several.

    Without runs, those of data set ``otherwise``.
    """
    datasets = {run.config.data.dataset for run in runs} or {otherwise}
    dataset = datasets.pop()
    return reference_marks(references(dataset)) if dataset and not datasets else ()


def topics(datas: Iterable[DataConfig]) -> set[str]:
    """What runs on such data are about: ``classify`` or ``language``, and ``secrets`` where some are planted."""
    datas = list(datas)
    return {data.task for data in datas} | ({"secrets"} if any(data.secrets for data in datas) else set())


def result(run: Run) -> tuple[str, str]:
    """How useful the model is, for example ``("accuracy", "97.1 %")`` or ``("perplexity", "8.25")``; a dash before the first
    point."""
    metric = UTILITY[run.config.data.task]
    value = run.metrics.get(metric.key)
    return metric.label.removeprefix("Test ").lower(), "–" if value is None else metric.show(value, 1)


def state(run: Run) -> str:
    """Status in words, with what was asked for and not yet done."""
    if run.deleted is not None:
        return "deleted"
    words = f"{STATUS_WORDS[run.status]}{', imported' if run.is_imported else ''}"
    if run.requested and run.status.is_active:
        words += f", will {run.requested} after this batch"
    return words


def reason(run: Run) -> str | None:
    """Why the run failed or is paused, as a sentence; None where there is nothing to explain."""
    return run.error or (run.reason.explanation if run.reason and not run.status.is_active else None)


def epsilon(run: Run) -> str:
    """ε spent so far."""
    if not run.plan.is_private:
        return "∞"
    return "–" if run.epsilon is None else f"{run.epsilon:.3f}"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """``seconds`` as a person says it."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def clock(moment: float | None) -> str:
    """A Unix time as local date and time."""
    return "–" if moment is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
