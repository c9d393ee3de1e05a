"""Language models that write on a page, with the real process that they write in."""

from __future__ import annotations

import time

import pytest

from privlab.data.secrets import secrets_of
from privlab.runs import files
from privlab.runs.record import Status
from tests.pages.conftest import LANGUAGE, errors, stored, with_weights


def texts(app, key: str = "write-on-texts") -> dict:
    """What was begun, once it is over."""
    found = app.session_state[key]
    deadline = time.monotonic() + 60
    while any(getattr(each, "state", "") == "running" for each in found.values()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("mode", ["none", "sealed"])
def test_a_run_writes_what_its_weights_say(visit, store, mode: str) -> None:
    run = with_weights(store, encryption__mode=mode)
    app = visit("run", run=run.id)
    app.slider(key="write-on-tokens").set_value(10)
    app.button(key="write-on-write").click().run()
    (writing,) = texts(app).values()
    assert writing.state == "finished", writing.message
    assert writing.text and writing.asked.prompt == "I am on my way "
    app.run()
    assert any("as private as the model" in each.value for each in app.caption)


def test_planted_secrets_are_offered_and_marked(visit, store) -> None:
    run = with_weights(store, data__secrets=2, data__secret_kind="pin")
    app = visit("run", run=run.id)
    first, _ = secrets_of(run.config)
    assert app.selectbox(key="write-on-prompt").value == first.prefix
    app.button(key="write-on-write").click().run()
    (writing,) = texts(app).values()
    writing.text = f"{first.code} <b>and\n# more"
    app.run()
    assert any("a planted secret, word by word" in each.value for each in app.markdown)
    (shown,) = [each.proto.body for each in app.get("html") if "pre-wrap" in each.proto.body]
    assert f"<mark>{first.code}</mark> &lt;b&gt;and\n# more" in shown


def test_two_runs_write_side_by_side_and_one_without_weights_says_so(visit, store) -> None:
    ready, waiting = with_weights(store, name="ready"), stored(store, name="waiting", **LANGUAGE)
    app = visit("compare", runs=f"{ready.id},{waiting.id}")
    app.button(key="write-on-write").click().run()
    found = texts(app)
    assert found[ready.id].state == "finished"
    app.run()
    assert "has no weights yet" in errors(app)


def test_damaged_weights_are_explained(visit, store) -> None:
    run = with_weights(store)
    files.weights_path(run).write_bytes(b"no weights")
    app = visit("run", run=run.id)
    app.button(key="write-on-write").click().run()
    texts(app)
    app.run()
    assert "The weights cannot be read" in errors(app)


def test_no_guarantee_is_said_where_none_is_claimed(visit, store) -> None:
    run = with_weights(store, privacy__randomness="reproducible")
    app = visit("run", run=run.id)
    app.button(key="write-on-write").click().run()
    texts(app)
    app.run()
    assert any("It has no guarantee" in each.value for each in app.caption)


def test_what_classifies_does_not_write(visit, store) -> None:
    run = stored(store, status=Status.FINISHED, points=2)
    assert not any("write" in each.value for each in visit("run", run=run.id).subheader)
