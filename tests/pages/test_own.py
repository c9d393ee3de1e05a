"""A model of one's own in the Lab: added from a folder, stopped, chosen, and missed where it is gone."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from privlab.data import own
from privlab.data.weightfiles import TOKENIZER
from privlab.models.catalogue import MODELS
from privlab.models.own import add
from privlab.runs.record import Status
from privlab.ui import fetching, ownmodel
from tests import ownmodels
from tests.pages.conftest import errors, stored

FETCH = "own-model"


@pytest.fixture(autouse=True)
def no_fetch_before() -> None:
    fetching.forget(FETCH)


def wait() -> None:
    """Until the fetch is over."""
    for _ in range(600):
        found = fetching.find(FETCH)
        if found is None or found.over:
            return
        time.sleep(0.05)
    raise AssertionError("the fetch does not end")


def on_texts(visit):
    app = visit()
    app.selectbox(key="data.dataset").select("sms-spam").run()
    return app


def pressed(app, source: object):
    app.text_input(key="own-model-source").set_value(str(source)).run()
    app.button(key="own-model-add").click().run()
    wait()
    return app.run()


def test_pictures_need_no_such_field(visit) -> None:
    app = visit()
    assert "own-model-source" not in {each.key for each in app.text_input}


def test_a_folder_is_added_chosen_and_later_missed(visit, store, tmp_path: Path) -> None:
    folder = ownmodels.folder(tmp_path / "Tiny BERT", "bert")
    app = pressed(on_texts(visit), folder)
    assert any("Tiny BERT \\(BERT" in each.value or "Tiny BERT (BERT" in each.value for each in app.success)
    (key,) = own.added()
    app.button(key="own-model-choose").click().run()
    assert app.selectbox(key="model.name").value == key and MODELS[key].title in app.selectbox(key="model.name").options
    assert not app.success and not errors(app), "nothing is left of the fetch, and the settings are sound"
    assert len(app.selectbox(key="model.trains").options) == 1 + len(MODELS[key].trains)

    own.remove(key)
    app.run()
    assert app.selectbox(key="model.name").value == key, "not silently another model"
    assert "Tiny BERT (not on this computer)" in app.selectbox(key="model.name").options
    assert "is not on this machine: add it again from" in errors(app)
    app.button(key="launch").click().run()
    assert "Nothing was launched" in errors(app) and store.list() == []


def test_what_is_refused_is_said_beside_the_field(visit, tmp_path: Path) -> None:
    folder = ownmodels.folder(tmp_path / "Tiny BERT", "bert")
    (folder / TOKENIZER).unlink()
    assert "Tiny BERT was not added. It has no tokenizer" in errors(pressed(on_texts(visit), folder)).replace("\\", "")
    assert "Name a folder" in errors(pressed(on_texts(visit), "")) and not own.added()


def test_a_fetch_can_be_stopped(visit, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def add(source: str, progress) -> str:
        while True:
            progress(1, 2, f"downloading {source}")
            begun.set()
            time.sleep(0.01)

    monkeypatch.setattr(ownmodel, "add", add)
    app = on_texts(visit)
    app.text_input(key="own-model-source").set_value("me/slow").run()
    app.button(key="own-model-add").click().run()
    assert begun.wait(10)
    app.run()
    assert "own-model-add" not in {each.key for each in app.button}
    app.button(key="stop-own-model").click().run()
    wait()
    assert fetching.find(FETCH) is None
    app.run()
    assert "own-model-add" in {each.key for each in app.button}


@pytest.mark.parametrize("status", [Status.FINISHED, Status.PAUSED, Status.QUEUED])
def test_every_page_shows_a_run_whose_model_is_gone(visit, store, tmp_path: Path, status: Status) -> None:
    key = add(str(ownmodels.folder(tmp_path / "Tiny GPT-2", "gpt2")))
    run = stored(
        store, "memorise", status=status, points=2, name="mine", model__name=key, privacy__protection="rounded"
    )
    other = stored(store, "memorise", status=status, points=2, name="other")
    own.remove(key)
    for page, address in (
        ("run", {"run": run.id}),
        ("compare", {"runs": f"{run.id},{other.id}"}),
        ("lab", {"runs": run.id}),
        ("ledger", {}),
        ("encryption", {"run": run.id}),
        ("budget", {}),
    ):
        app = visit(page, **address)
        assert "Something inside PrivLab went wrong" not in errors(app), page
        if page == "run":
            assert "weights that somebody added" in everything(app) and key in everything(app)


def everything(app) -> str:
    return "\n".join(str(each.value) for each in (*app.markdown, *app.caption, *app.table, *app.dataframe))
