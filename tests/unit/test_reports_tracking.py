"""What goes to an MLflow server: settings, covered points and the claim; once, and never at the expense of a run."""

from __future__ import annotations

import sys
from collections import namedtuple
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from privlab.cli import main
from privlab.config import load_preset
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.reports import tracking
from privlab.reports.tracking import TrackingFailed, send
from privlab.runs.record import Run, Status
from privlab.runs.store import Store

REAL = find_spec("mlflow") is not None


class Server:
    """The calls of MLflow's client that PrivLab makes, kept in memory."""

    def __init__(self) -> None:
        self.runs: dict[str, SimpleNamespace] = {}
        self.broken: str | None = None
        self.wanted = None

    def get_experiment_by_name(self, name: str):
        self.wanted = name
        return None

    def create_experiment(self, name: str) -> str:
        return "1"

    def search_runs(self, experiments, filter_string: str, max_results: int):
        return [
            run for run in self.runs.values() if all(f"'{run.data.tags[key]}'" in filter_string for key in run.keyed)
        ]

    def create_run(self, experiment: str, start_time: int, tags: dict):
        sent = f"sent-{len(self.runs)}"
        data = SimpleNamespace(tags=dict(tags), params={}, metrics=[], files={}, ended=None)
        keyed = ("privlab.run", "privlab.settings")
        self.runs[sent] = SimpleNamespace(info=SimpleNamespace(run_id=sent), data=data, keyed=keyed)
        return self.runs[sent]

    def log_batch(self, sent: str, metrics=(), params=()) -> None:
        assert len(metrics) <= 1000
        self.runs[sent].data.metrics += metrics
        self.runs[sent].data.params |= {each.key: each.value for each in params}

    def log_text(self, sent: str, text: str, file: str) -> None:
        if self.broken:
            raise ConnectionError(self.broken)
        self.runs[sent].data.files[file] = text

    def set_tag(self, sent: str, key: str, value: str) -> None:
        self.runs[sent].data.tags[key] = value

    def set_terminated(self, sent: str, status: str, end_time: int) -> None:
        self.runs[sent].data.ended = status


@pytest.fixture(autouse=True)
def entities(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("mlflow.entities")
    module.Metric = namedtuple("Metric", "key value timestamp step")
    module.Param = namedtuple("Param", "key value")
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.entities", module)


def a_run(step: int = 2, **settings) -> Run:
    config = load_preset("digits").replace(**settings)
    plan = preflight(config).plan
    return Run(
        "abc1230000",
        "mine",
        Status.FINISHED,
        config,
        plan,
        100.0,
        started=100.0,
        step=step,
        steps=plan.steps,
        epsilon=0.5,
    )


def points(count: int = 2) -> list[Point]:
    measured = {"test_accuracy": 0.5, "grad_norm_p50": 2.0, "time_clip": 0.1}
    return [Point(step, step / 5, 1.5 * step, 0.25 * step, measured) for step in range(1, count + 1)]


def test_settings_points_and_claim_are_sent() -> None:
    server = Server()
    sent = send(server, a_run(), points())
    data = server.runs[sent].data
    assert data.params["privacy.max_grad_norm"] == "0.2" and data.params["plan.records"] == "1442"
    assert {(each.key, each.step) for each in data.metrics} == {
        (key, step) for key in ("test_accuracy", "epsilon") for step in (1, 2)
    }
    assert data.metrics[0].timestamp == 101_500
    assert data.files["claim.md"].startswith("# Privacy claim of run abc1230000")
    assert set(data.files) == {"claim.md", "claim.json", "settings.toml"}
    assert (data.ended, data.tags["privlab.claim"], server.wanted) == ("FINISHED", "conditional", "PrivLab")


def test_private_diagnostics_go_only_where_asked_for() -> None:
    server = Server()
    data = server.runs[send(server, a_run(), points(), private=True)].data
    assert {each.key for each in data.metrics} == {"test_accuracy", "epsilon", "grad_norm_p50", "time_clip"}


def test_a_reproducible_run_sends_no_epsilon() -> None:
    server = Server()
    data = server.runs[send(server, a_run(privacy__randomness="reproducible"), points())].data
    assert {each.key for each in data.metrics} == {"test_accuracy"} and data.tags["privlab.claim"] == "void"


def test_only_what_is_new_is_sent_again_and_other_settings_are_another_run() -> None:
    server = Server()
    first = send(server, a_run(), points())
    assert send(server, a_run(step=3), points(3)) == first
    steps = [each.step for each in server.runs[first].data.metrics if each.key == "epsilon"]
    assert steps == [1, 2, 3]
    assert send(server, a_run(training__epochs=9), points()) != first


def test_after_a_failure_the_rest_is_sent() -> None:
    server = Server()
    server.broken = "the server is gone\nand more"
    with pytest.raises(TrackingFailed, match=r"abc1230000 was not sent.*the server is gone$"):
        send(server, a_run(), points())
    server.broken = None
    data = server.runs[send(server, a_run(), points())].data
    assert len(server.runs) == 1 and data.ended == "FINISHED" and data.files


def test_an_imported_run_says_so() -> None:
    server = Server()
    data = server.runs[send(server, replace(a_run(), origin="def4560000"), points())].data
    assert data.tags["privlab.trained"] == "elsewhere, as run def4560000"


def test_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracking.URI, "https://me:secret@server:5000/path")
    assert tracking.tracking() == "https://server:5000/path"
    server = Server()
    server.broken = "request to https://me:secret@server:5000/path/x failed"
    with pytest.raises(TrackingFailed) as told:
        send(server, a_run(), points())
    assert "secret" not in str(told.value) and "https://server:5000/path/x" in str(told.value)
    monkeypatch.setenv(tracking.URI, "file:/tmp/there")
    assert tracking.tracking() == "file:/tmp/there"


def test_without_a_server_or_the_package_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tracking.URI, raising=False)
    with pytest.raises(TrackingFailed, match="MLFLOW_TRACKING_URI is not set"):
        tracking.client()
    monkeypatch.setenv(tracking.URI, "http://localhost:1")
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(TrackingFailed, match=r"pip install -r requirements-mlflow\.txt"):
        tracking.client()


def test_the_command_tells_what_failed_and_leaves_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    checked, store, server = preflight(load_preset("digits")), Store(), Server()
    runs = [store.create(checked.config, checked.plan) for _ in range(2)]
    monkeypatch.setattr(tracking, "client", lambda: server)
    assert main(["export-mlflow", *(run.id for run in runs)]) == 0
    assert capsys.readouterr().out.count("is run sent-") == 2
    server.broken = "no route to host"
    assert main(["export-mlflow", runs[0].id]) == 1
    assert "no route to host" in capsys.readouterr().err
    assert store.get(runs[0].id) == runs[0]


@pytest.mark.skipif(not REAL, reason="mlflow-skinny is optional (requirements-mlflow.txt)")
def test_a_store_of_files_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlflow", "mlflow.entities"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv(tracking.URI, f"file:{tmp_path}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    server = tracking.client()
    sent = send(server, a_run(), points())
    assert send(server, a_run(step=3), points(3)) == sent
    found = server.get_run(sent)
    assert (found.data.metrics["epsilon"], found.info.status) == (0.75, "FINISHED")
    assert [each.step for each in server.get_metric_history(sent, "epsilon")] == [1, 2, 3]
