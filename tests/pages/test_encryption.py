"""The Encryption page: every view draws, what does not fit is said, and what is pressed happens."""

from __future__ import annotations

import pytest

from privlab.encryption.modes import MODES
from privlab.runs.record import Status
from privlab.ui.encryption import jobs
from privlab.ui.encryption.views import VIEWS
from tests.pages.conftest import address, errors, stored


def words(app) -> str:
    said = "\n".join(part.value for part in (*app.markdown, *app.caption, *app.info, *app.warning))
    return said.replace("\\", "")


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_draws_on_an_empty_lab(visit, view) -> None:
    app = visit("encryption", view=view)
    assert not app.exception and not errors(app)
    assert address(app, "view") == view


def test_an_unknown_view_in_the_address_is_the_first_one(visit) -> None:
    app = visit("encryption", view="nonsense")
    assert address(app, "view") == next(iter(VIEWS))


def test_one_press_launches_one_run_for_each_mode(visit, store) -> None:
    app = visit("encryption")
    assert app.button(key="sbs-launch").label == f"Launch {len(MODES)} runs"
    app.button(key="sbs-launch").click().run()
    assert not app.exception and not errors(app)
    runs = store.list()
    assert sorted(run.config.encryption.mode for run in runs) == sorted(MODES)
    assert {run.config.privacy.randomness for run in runs} == {"reproducible"}
    assert len({run.group for run in runs}) == 1
    assert set(address(app, "runs").split(",")) == {run.id for run in runs}


def test_modes_that_do_not_fit_are_named_with_their_reason(visit, store, monkeypatch) -> None:
    monkeypatch.setattr("privlab.encryption.modes.MOST_SECONDS_A_STEP", 1e-4)
    app = visit("encryption")
    said = words(app)
    assert "encrypted store, approximate (CKKS): mode=ckks" in said and "650 parameters" in said
    app.button(key="sbs-launch").click().run()
    assert {run.config.encryption.mode for run in store.list()} == {"none", "sealed", "pad"}


def test_owners_are_given_to_stores_alone(visit, store) -> None:
    app = visit("encryption")
    app.number_input(key="sbs-owners").set_value(3).run()
    app.button(key="sbs-launch").click().run()
    assert not errors(app)
    assert {run.config.encryption.mode: run.plan.owners for run in store.list()} == {
        "none": 1,
        "sealed": 1,
        "bfv": 3,
        "ckks": 3,
        "pad": 3,
    }


def test_a_run_that_is_not_there_any_more_is_left_out(visit, store) -> None:
    run = stored(store, status=Status.RUNNING, points=3)
    app = visit("encryption", view="modes", runs=f"{run.id},gone")
    assert not app.exception and not errors(app)


def test_a_model_is_needed_before_a_question(visit, store) -> None:
    app = visit("encryption", view="inference")
    app.button(key="inference-train").click().run()
    (run,) = store.list()
    assert (run.config.data.dataset, run.config.model.name) == ("digits", "mlp")


def test_a_training_starts_with_what_was_chosen(visit, monkeypatch) -> None:
    begun = []
    monkeypatch.setattr(jobs, "start", lambda module, given, about: begun.append((module, given)) or "abc")
    app = visit("encryption", view="ciphertext")
    app.selectbox(key="ct-data").select("digits01").run()
    app.number_input(key="ct-steps").set_value(7).run()
    app.button(key="ct-start-c2").click().run()
    assert not app.exception
    assert begun == [
        (
            "privlab.encryption.fully.job",
            ["--dataset", "digits01", "--mode", "c2", "--steps", "7", "--sigma", "10.0"],
        )
    ]
    assert "There is no training of this name here." in words(app)


def test_a_training_on_shares_starts_with_the_data_that_fit_its_model(visit, monkeypatch) -> None:
    begun = []
    monkeypatch.setattr(jobs, "start", lambda module, given, about: begun.append((given, about["title"])) or "abc")
    monkeypatch.setattr("privlab.ui.encryption.ciphertext.available", lambda: (True, "SPU"))
    app = visit("encryption", view="ciphertext")
    app.radio(key="ct-way").set_value("shared").run()
    app.selectbox(key="ct-shared-data").select("odd-digits").run()
    app.button(key="ct-start-shared").click().run()
    app.selectbox(key="ct-model").select("mlp").run()
    app.button(key="ct-start-shared").click().run()
    assert not app.exception
    rest = ["--steps", "200", "--sigma", "2.0"]
    assert begun == [
        (["--model", "binary", "--dataset", "odd-digits", *rest], "digits odd or even · logistic, two classes · ABY3"),
        (["--model", "mlp", "--dataset", "digits", *rest], "digits · MLP 64-32-10 · ABY3"),
    ]


def test_without_its_environment_secret_sharing_says_how_to_get_it(visit, monkeypatch) -> None:
    monkeypatch.setenv("PRIVLAB_SPU_PYTHON", "/nowhere/python")
    app = visit("encryption", view="ciphertext")
    app.radio(key="ct-way").set_value("shared").run()
    assert "make spu" in words(app)
    assert app.button(key="ct-start-shared").disabled
