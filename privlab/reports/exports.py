"""Runs as CSV, Parquet, JSON and TOML."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from privlab.metrics import METRICS, Point
from privlab.reports.claim import claim
from privlab.runs.record import Run, RunEvent

#: Columns that say which run a row belongs to, then the point itself, then every metric that some point has.
RUN_COLUMNS = ("run", "name")
POINT_COLUMNS = tuple(f.name for f in fields(Point) if f.name != "metrics")

Curves = Iterable[tuple[Run, Sequence[Point]]]


def points_csv(curves: Curves) -> str:
    """Every point of some runs, one row each; header ``run,name,step,epoch,seconds,epsilon,<metric>…``.

    An empty cell in ``epsilon`` means that no guarantee is claimed (ε = ∞); in a metric, that the point has no value.
    Numbers are written in full, so that reading them back gives the same floats. Metrics are in their declared order.
    """
    curves = [(run, list(points)) for run, points in curves]
    used = {key for _, points in curves for point in points for key in point.metrics}
    metrics = [key for key in METRICS if key in used]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*RUN_COLUMNS, *POINT_COLUMNS, *metrics))
    for run, points in curves:
        for point in points:
            cells = [getattr(point, column) for column in POINT_COLUMNS]
            cells += [_finite(point.metrics.get(key)) for key in metrics]
            writer.writerow((run.id, _text(run.name), *("" if cell is None else cell for cell in cells)))
    return out.getvalue()


def points_parquet(curves: Curves) -> bytes:
    """The rows of :func:`points_csv` as a Parquet file: typed columns, null where a point has no value or no ε is claimed.

    Names are as they are, for nothing runs a formula here. Each metric's column says its unit and release class.
    """
    # Heavy to load, and needed once in a while.
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rows = [(run, point) for run, points in curves for point in points]
    used = {key for _, point in rows for key in point.metrics}
    columns = {
        "run": pa.array([run.id for run, _ in rows], pa.string()),
        "name": pa.array([run.name for run, _ in rows], pa.string()),
        "step": pa.array([point.step for _, point in rows], pa.int64()),
    }
    for column in POINT_COLUMNS[1:]:
        columns[column] = pa.array([getattr(point, column) for _, point in rows], pa.float64())
    for key in (key for key in METRICS if key in used):
        columns[key] = pa.array([_finite(point.metrics.get(key)) for _, point in rows], pa.float64())
    fields = [
        pa.field(name, values.type, metadata=_about(name) if name in METRICS else None)
        for name, values in columns.items()
    ]
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields)), out, compression="zstd")
    return out.getvalue()


def _about(key: str) -> dict[str, str]:
    metric = METRICS[key]
    return {"label": metric.label, "unit": metric.unit, "release": metric.release.value}


def points_json(curves: Curves, events: Mapping[str, Sequence[RunEvent]] | None = None) -> str:
    """Some runs with settings, plan, privacy claim and points, and the metrics' units and release classes.

    Numbers that are not finite are written as null, because JSON has no infinity.

    Args:
        events: of each run, by its id; without them no self-check is known, and the claim is conditional.
    """
    events = events or {}
    curves = [(run, list(points)) for run, points in curves]
    used = {key for _, points in curves for point in points for key in point.metrics}
    document = {
        "metrics": {
            key: {"label": metric.label, "unit": metric.unit, "better": metric.better, "release": metric.release.value}
            for key, metric in METRICS.items()
            if key in used
        },
        "runs": [_run(run, points, events.get(run.id, ())) for run, points in curves],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def settings_toml(run: Run) -> str:
    """The run's settings as a file that ``python -m privlab train --config`` takes."""
    return f"# Settings of run {run.id}.\n{run.config.to_toml()}"


def _run(run: Run, points: Sequence[Point], events: Sequence[RunEvent]) -> dict[str, Any]:
    said = claim(run, events)
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status.value,
        "created": run.created,
        "settings": run.config.to_dict(),
        "plan": _finite(run.plan.to_dict()),
        "privacy": {"verdict": said.verdict, "headline": said.headline, "reasons": list(said.reasons)},
        "points": [
            {column: _finite(getattr(point, column)) for column in POINT_COLUMNS} | _finite(point.metrics)
            for point in points
        ],
    }


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _text(value: str) -> str:
    """A name that a spreadsheet shows and does not run as a formula (OWASP, “CSV Injection”)."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
