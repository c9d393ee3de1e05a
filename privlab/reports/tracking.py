"""Runs sent to an MLflow server: settings as parameters, points as metrics, claim and settings as artifacts.

Optional (requirements-mlflow.txt), and one way: nothing is read back, and a server that fails changes nothing here.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from privlab import __version__
from privlab.metrics import METRICS, SHARED, Point
from privlab.reports.claim import claim, claim_json, claim_markdown
from privlab.reports.exports import settings_toml
from privlab.runs.ledger import Ledger
from privlab.runs.record import Run, RunEvent, Status

URI, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
_DEFAULT = "PrivLab"
#: MLflow's own limits are minutes, in which a person would wait for a server that is not there.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
#: Metrics that MLflow takes at once.
_AT_ONCE = 1000
_ENDED = {Status.FINISHED: "FINISHED", Status.FAILED: "FAILED", Status.STOPPED: "KILLED"}


class TrackingFailed(RuntimeError):
    """The run was not sent, or not whole; the message says why. Sending it again goes on where it ended."""


def tracking() -> str | None:
    """The server that the environment names, without any password; None where it names none."""
    uri = os.environ.get(URI, "").strip()
    parts = urlsplit(uri)
    return uri.replace(f"{parts.netloc}", parts.netloc.rpartition("@")[2], 1) if parts.netloc else uri or None


def not_ready() -> str | None:
    """Why nothing can be sent, as a sentence; None where it can."""
    if tracking() is None:
        return f"{URI} is not set: name the MLflow server there, for example http://localhost:5000."
    if find_spec("mlflow") is None:
        return "The package mlflow-skinny is not installed: pip install -r requirements-mlflow.txt"
    return None


def client() -> Any:
    """MLflow's client for :func:`tracking`. Raises TrackingFailed."""
    if why := not_ready():
        raise TrackingFailed(why)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient

        return MlflowClient()
    except Exception as error:
        raise TrackingFailed(f"{tracking()} cannot be used: {_first(error)}") from error


def send(
    given: Any,
    run: Run,
    points: Sequence[Point],
    events: Sequence[RunEvent] = (),
    ledger: Ledger | None = None,
    *,
    private: bool = False,
) -> str:
    """Send ``run`` as it is now; what was sent before is not sent again, unless its settings have changed since.

    Args:
        given: MLflow's client, of :func:`client`.
        points, events, ledger: of the run, as its store has them.
        private: also send private diagnostics and timings, which no guarantee covers.

    Returns:
        The run's id in MLflow.

    Raises:
        TrackingFailed: the server refused or is not there.
    """
    try:
        return _send(given, run, points, events, ledger, private)
    except Exception as error:
        # Any library below may raise anything: a server's trouble is told and never a run's.
        raise TrackingFailed(f"Run {run.id} was not sent to {tracking() or 'MLflow'}: {_first(error)}") from error


def _first(error: Exception) -> str:
    """What an error of any library says, in one line and without the password of an address."""
    return re.sub(r"//[^/@\s]+@", "//", (str(error).strip() or type(error).__name__).splitlines()[0])[:400]


def _send(given: Any, run: Run, points: Sequence[Point], events, ledger, private: bool) -> str:
    name = os.environ.get(EXPERIMENT) or _DEFAULT
    known = given.get_experiment_by_name(name)
    experiment = known.experiment_id if known else given.create_experiment(name)
    said, settings = claim(run, events, ledger), settings_toml(run)
    digest = hashlib.sha256(f"{settings}{private}".encode()).hexdigest()[:16]
    same = f"tags.`privlab.run` = '{run.id}' and tags.`privlab.settings` = '{digest}'"
    there = given.search_runs([experiment], filter_string=same, max_results=1)
    if there:
        sent, after = there[0].info.run_id, int(there[0].data.tags.get("privlab.step", 0))
    else:
        tags = {"mlflow.runName": run.name or run.id, "privlab.run": run.id, "privlab.settings": digest}
        begun = int(1000 * (run.started or run.created))
        sent, after = given.create_run(experiment, start_time=begun, tags=tags).info.run_id, 0
        given.log_batch(sent, params=_parameters(run))
    metrics = [each for point in points if point.step > after for each in _metrics(run, point, private)]
    for at in range(0, len(metrics), _AT_ONCE):
        given.log_batch(sent, metrics=metrics[at : at + _AT_ONCE])
    for file, text in (
        ("claim.md", claim_markdown(said)),
        ("claim.json", claim_json(said)),
        ("settings.toml", settings),
    ):
        given.log_text(sent, text, file)
    told = {"privlab.version": __version__, "privlab.claim": said.verdict, "privlab.headline": said.headline}
    told |= {"privlab.trained": f"elsewhere, as run {run.origin}" if run.is_imported else "here"}
    # Last: who sends again after a failure begins before what is perhaps missing.
    for key, value in (told | {"privlab.step": str(run.step)}).items():
        given.set_tag(sent, key, value)
    if run.status.is_over:
        given.set_terminated(sent, _ENDED[run.status], int(1000 * (run.ended or run.created)))
    return sent


def _parameters(run: Run) -> list[Any]:
    from mlflow.entities import Param

    flat = {
        f"{group}.{key}": value
        for group, keys in run.config.to_dict().items()
        if isinstance(keys, dict)
        for key, value in keys.items()
    }
    plan = run.plan
    follows = {
        "plan.records": plan.records,
        "plan.sample_rate": plan.sample_rate,
        "plan.noise_multiplier": plan.noise_multiplier,
        "plan.steps": plan.steps,
    }
    return [Param(key, str(value)[:500]) for key, value in (flat | follows).items()]


def _metrics(run: Run, point: Point, private: bool) -> list[Any]:
    from mlflow.entities import Metric

    kept = {
        key: value
        for key, value in point.metrics.items()
        if key in METRICS and (private or METRICS[key].release in SHARED)
    }
    if point.epsilon is not None and run.config.privacy.randomness != "reproducible":
        kept["epsilon"] = point.epsilon
    when = int(1000 * ((run.started or run.created) + point.seconds))
    return [Metric(key, float(value), when, point.step) for key, value in kept.items()]
