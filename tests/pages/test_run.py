"""The page of one run."""

from __future__ import annotations

import pytest

from privlab.preflight import preflight
from privlab.privacy import epsilon_curve
from privlab.runs.record import Status
from tests.pages.conftest import errors, stored


def texts(app) -> str:
    return "\n".join(each.value for each in app.markdown).replace("\\", "")


def test_without_a_run_it_lists_the_newest(visit, store) -> None:
    assert any("no runs yet" in each.value for each in visit("run").info)
    stored(store, name="mine")
    assert any("Which run" in each.value for each in visit("run").subheader)


def test_an_unknown_run_is_explained_with_a_way_on(visit, store) -> None:
    stored(store)
    app = visit("run", run="abc<b>")
    assert "There is no run 'abc<b>' here" in errors(app)
    assert any("These runs are here" in each.value for each in app.subheader)


def test_a_finished_run(visit, store) -> None:
    run = stored(store, status=Status.FINISHED, points=30, name="mine")
    store.add_event(run.id, "info", "Self-check passed.", {"sensitivity": 1.0})
    app = visit("run", run=run.id)
    said = texts(app)
    assert app.title[0].value == "mine"
    assert "✓ finished" in said
    assert any(
        f"ε = 3 at δ = 0.0001, after step 30 of {run.steps}" in each.value.replace("\\", "") for each in app.success
    )
    assert "keyed by the operating system" in said
    (steps,) = (table.value for table in app.table if "Time" in table.value)
    assert next(iter(steps.index)).startswith("1 load")
    assert steps["Time"]["4 clip"] == "1.00 ms"
    assert steps["Share"]["3 per-sample gradients"] == "75 %"
    shown = app.dataframe[0].value
    assert "Clipping bound C (L2 norm)" in list(shown["Setting"])


def test_a_failed_run_says_why(visit, store) -> None:
    run = stored(store, status=Status.FAILED)
    assert "The disk is full." in errors(visit("run", run=run.id))


def test_a_reproducible_run_claims_nothing(visit, store) -> None:
    run = stored(store, points=3, privacy__randomness="reproducible")
    app = visit("run", run=run.id)
    assert any("Reproducible, not private" in each.value for each in app.error)
    assert not app.success


@pytest.mark.parametrize(
    ("status", "open_", "closed"),
    [
        (Status.QUEUED, {"pause", "stop", "clone", "delete"}, {"resume", "confirm-extend"}),
        (Status.RUNNING, {"pause", "stop", "clone", "delete"}, {"resume", "confirm-extend"}),
        (Status.PAUSED, {"resume", "stop", "confirm-extend", "clone", "delete"}, {"pause"}),
        (Status.FINISHED, {"confirm-extend", "clone", "delete"}, {"pause", "resume", "stop"}),
        (Status.FAILED, {"resume", "confirm-extend", "clone", "delete"}, {"pause", "stop"}),
    ],
)
def test_only_what_makes_sense_is_offered(visit, store, status: Status, open_: set, closed: set) -> None:
    run = stored(store, status=status)
    keys = {button.key for button in visit("run", run=run.id).button}
    assert {f"{action}-{run.id}" for action in open_} <= keys
    assert not {f"{action}-{run.id}" for action in closed} & keys


def test_pause_resume_stop(visit, store) -> None:
    run = stored(store)
    app = visit("run", run=run.id)
    for action, status in (("pause", Status.PAUSED), ("resume", Status.QUEUED), ("stop", Status.STOPPED)):
        app.button(key=f"{action}-{run.id}").click().run()
        assert store.get(run.id).status is status


def test_a_request_to_a_training_run_is_shown(visit, store) -> None:
    run = stored(store, status=Status.RUNNING, points=1)
    app = visit("run", run=run.id)
    app.button(key=f"pause-{run.id}").click().run()
    assert store.get(run.id).requested == "pause"
    assert "will pause after this batch" in texts(app)


def test_extend_shows_the_new_epsilon_and_does_it(visit, store) -> None:
    run = stored(store, status=Status.FINISHED, points=3)
    app = visit("run", run=run.id)
    app.number_input(key=f"extend-epochs-{run.id}").set_value(10).run()
    longer = run.config.replace(
        training__epochs=run.config.training.epochs + 10, privacy__noise_multiplier=run.plan.noise_multiplier
    )
    plan = preflight(longer).plan
    later = epsilon_curve(plan, [plan.steps])[0]
    assert f"ε = {later:.3f}** instead of {run.plan.epsilon:.3f}" in texts(app)
    app.button(key=f"confirm-extend-{run.id}").click().run()
    after = store.get(run.id)
    assert after.plan == plan
    assert after.status is Status.QUEUED


def test_extending_by_nothing_is_refused(visit, store) -> None:
    run = stored(store, status=Status.FINISHED, points=3)
    app = visit("run", run=run.id)
    app.number_input(key=f"extend-epochs-{run.id}").set_value(0).run()
    assert "epochs=0 is refused" in errors(app)


def test_clone_opens_the_lab_with_these_settings(visit, store) -> None:
    run = stored(store, "strong", training__epochs=17, name="mine")
    app = visit("run", run=run.id)
    app.button(key=f"clone-{run.id}").click().run()
    assert app.number_input(key="training.epochs").value == 17
    assert app.number_input(key="privacy.target_epsilon").value == 0.5
    assert app.text_input(key="name").value == "mine (copy)"


def test_delete_and_undo(visit, store) -> None:
    run = stored(store, status=Status.FINISHED, points=3, name="mine")
    app = visit("run", run=run.id)
    app.button(key=f"delete-{run.id}").click().run()
    assert "is deleted" in texts(app)
    assert store.list() == []
    app.button(key=f"undelete-{run.id}").click().run()
    assert [each.id for each in store.list()] == [run.id]
    assert "✓ finished" in texts(app)


def test_resuming_a_sealed_run_needs_its_passphrase(visit, store) -> None:
    run = stored(store, "encrypted", status=Status.PAUSED, encryption__key="passphrase")
    app = visit("run", run=run.id)
    app.button(key=f"confirm-resume-{run.id}").click().run()
    assert "enter it to start the run" in errors(app)
    app.text_input(key=f"resume-passphrase-{run.id}").input("correct horse").run()
    app.button(key=f"confirm-resume-{run.id}").click().run()
    assert store.get(run.id).status is Status.QUEUED
    assert "correct horse" not in str(app.session_state)


def test_a_name_is_text_and_not_markup(visit, store) -> None:
    run = stored(store, name="<b>**x** :red[y] $z$ [a](http://b)")
    app = visit("run", run=run.id)
    assert app.title[0].value == r"\<b\>\*\*x\*\* \:red\[y\] \$z\$ \[a\](http\://b)"


SECRETS = {"data__dataset": "sms-messages", "data__secrets": 2, "model__name": "small-gpt", "training__epochs": 2}


@pytest.mark.parametrize(("repeats", "bound"), [(1, "at most 1 in "), (100, "up to 100 %: no limit")])
def test_planted_secrets_are_listed_with_what_the_guarantee_says(visit, store, repeats: int, bound: str) -> None:
    run = stored(store, **SECRETS, data__secret_repeats=repeats)
    assert "follows with the first point" in texts(visit("run", run=run.id))
    run = stored(store, **SECRETS, data__secret_repeats=repeats, points=2)
    store.add_event(run.id, "info", "Self-check passed.", {"sensitivity": 1.0})
    waiting = visit("run", run=run.id)
    assert any("listed here when the run pauses or ends" in each.value for each in waiting.caption)
    assert bound in texts(waiting) and f"{repeats} training record" in texts(waiting)
    told = [
        {
            "kind": "card",
            "prefix": "The card number of Anna is ",
            "code": "9123",
            "bits": bits,
            "by": "beam search" if bits == 10 else None,
        }
        for bits in (10, 0.5)
    ]
    store.add_event(run.id, "warning", "The model recites 1 of 2.", {"exposures": told})
    (table,) = (each.value for each in visit("run", run=run.id).dataframe if "Exposure" in each.value)
    assert list(table["Recited"]) == ["by beam search", "no"] and list(table["Exposure"]) == [10, 0.5]


def test_a_void_claim_limits_nothing_that_is_recited(visit, store) -> None:
    run = stored(store, **SECRETS, points=3, privacy__randomness="reproducible")
    said = texts(visit("run", run=run.id))
    assert "No privacy is claimed for this run, so nothing limits" in said and "By the guarantee" not in said


def test_without_privacy_nothing_limits_what_is_recited(visit, store) -> None:
    run = stored(store, "no-privacy", **SECRETS)
    assert "Nothing limits what a model without privacy may recite" in texts(visit("run", run=run.id))
    plain = stored(store, data__dataset="sms-messages", model__name="small-gpt", training__epochs=2)
    assert not any("Planted secrets" in each.value for each in visit("run", run=plain.id).subheader)
