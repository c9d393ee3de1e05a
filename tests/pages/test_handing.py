"""Handing runs on and taking them in, from the pages."""

from __future__ import annotations

from dataclasses import replace

import pytest
import streamlit as st

from privlab.metrics import Point
from privlab.privacy import epsilon_curve
from privlab.reports import bundle
from privlab.runs.record import RunEvent, Status
from privlab.ui import handing, importing
from tests.pages.conftest import errors, stored


def downloads(app) -> set[str]:
    return {each.proto.label for each in app.get("download_button")}


def test_a_finished_run_is_handed_on_as_report_script_and_notebook(visit, store, monkeypatch) -> None:
    monkeypatch.setattr(handing, "chromium", lambda: None)
    run = stored(store, status=Status.FINISHED, points=3)
    offered = downloads(visit("run", run=run.id))
    assert {"Report, HTML", "Script with plain Opacus", "Jupyter notebook", "Points, Parquet"} <= offered
    assert "Report, PDF" not in offered
    monkeypatch.setattr(handing, "chromium", lambda: "/usr/bin/chromium")
    assert "Report, PDF" in downloads(visit("run", run=run.id))


def test_the_reason_stands_where_the_script_would(visit, store) -> None:
    run = stored(store, status=Status.FINISHED, points=3, privacy__bands=4)
    app = visit("run", run=run.id)
    assert "Script with plain Opacus" not in downloads(app)
    assert any("bands=4" in each.value for each in app.caption)
    waiting = visit("run", run=stored(store).id)
    assert any("no point yet" in each.value for each in waiting.caption)


def test_compare_offers_report_and_parquet(visit, store) -> None:
    runs = [stored(store, status=Status.FINISHED, points=3, name=name) for name in "ab"]
    assert {"Report, HTML", "Points, Parquet"} <= downloads(visit("compare", runs=",".join(run.id for run in runs)))


def test_weights_that_make_features_are_asked_for(visit, store) -> None:
    spam = {"data__dataset": "sms-spam", "model__name": "minilm-head", "training__epochs": 2}
    run = stored(store, status=Status.FINISHED, points=2, **spam)
    app = visit("run", run=run.id)
    assert "Script with plain Opacus" not in downloads(app)
    assert any("privlab data fetch minilm" in each.value.replace("\\", "") for each in app.caption)


def test_mlflow_is_offered_where_a_server_is_named(visit, store, monkeypatch) -> None:
    run = stored(store, status=Status.FINISHED, points=3)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert not any(button.key == f"mlflow-{run.id}" for button in visit("run", run=run.id).button)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@localhost:1")
    monkeypatch.setattr("privlab.reports.tracking.find_spec", lambda name: None)
    dead = visit("run", run=run.id).button(key=f"mlflow-{run.id}")
    assert dead.disabled and "requirements" in dead.help
    monkeypatch.setattr("privlab.reports.tracking.find_spec", lambda name: object())
    app = visit("run", run=run.id)
    assert "secret" not in app.button(key=f"mlflow-{run.id}").help
    app.button(key=f"mlflow-{run.id}").click().run()
    assert "localhost:1" in errors(app) or "mlflow" in errors(app)
    assert store.get(run.id) == run


class _File:
    def __init__(self, content: bytes):
        self.getvalue = lambda: content


def foreign(store) -> bytes:
    """A bundle of a run that is not here any more, as from another lab."""
    run = stored(store, status=Status.FINISHED, points=1, name="theirs", training__epochs=2)
    store.delete(run.id)
    store.purge(older_than=-1)
    spent = float(epsilon_curve(run.plan, [run.steps])[0])
    run = replace(run, step=run.steps, epsilon=spent)
    point = Point(run.steps, 1.0, 1.0, spent, {"test_accuracy": 0.5})
    return bundle(run, [point], [RunEvent(1, run.id, 1.0, "info", "Self-check passed.", {"sensitivity": 1.0})])


def test_an_imported_run_is_marked_everywhere(visit, store) -> None:
    content = foreign(store)
    state = {importing._FILE: _File(content)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(st, "session_state", state)
        patch.setattr(importing.urls, "pin", lambda run_id: None)
        importing._import()
    assert "Imported as run" in state[importing._DONE]
    (run,) = store.list()
    page = visit("run", run=run.id)
    said = "\n".join(each.value for each in (*page.markdown, *page.caption))
    assert "✓ finished, imported" in said and f"as run `{run.origin}`" in said and "imported 20" in said
    keys = {button.key for button in page.button}
    assert f"clone-{run.id}" in keys and f"confirm-extend-{run.id}" not in keys
    compare = visit("compare", runs=run.id)
    assert list(compare.dataframe[0].value["Status"]) == ["✓ finished, imported"]
    ledger = visit("ledger")
    assert any("imported: trained elsewhere" in str(each.value["Settings"].tolist()) for each in ledger.dataframe)


def test_a_refused_bundle_says_why_and_leaves_nothing(store, monkeypatch) -> None:
    state = {importing._FILE: _File(b"no zip")}
    monkeypatch.setattr(st, "session_state", state)
    importing._import()
    assert "zip" in state["notice"] and store.list() == []
    state[importing._FILE] = None
    importing._import()
    assert "choose a bundle first" in state["notice"]
