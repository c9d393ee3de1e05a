"""The Sweeps page. The conductor is called by hand, and the test ends runs as a worker would."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from privlab.runs import control as runs_control
from privlab.runs.record import Status
from privlab.runs.store import Store
from privlab.runs.sweeprecord import Sweep, SweepState
from privlab.sweeps import control
from privlab.sweeps.conductor import Conductor
from privlab.sweeps.results import spec_of
from privlab.ui.sweeps import ahead
from tests.pages.conftest import address, errors
from tests.sweeping import BASE, finish_all, spec


def said(app: AppTest) -> str:
    parts = (*app.markdown, *app.caption, *app.info, *app.title, *app.subheader)
    return "\n".join(each.value for each in parts).replace("\\", "")


def press(app: AppTest, key: str) -> AppTest:
    return app.button(key=key).click().run()


def driven(store: Store, rounds: int = 30, **changes) -> Sweep:
    """A sweep after some looks of the conductor; 30 are enough for its end."""
    sweep = control.create(store, spec(**changes))
    conductor = Conductor(store, lambda: True)
    for _ in range(rounds):
        conductor.look()
        finish_all(store, sweep.id, lambda run: 0.9 - run.config.privacy.max_grad_norm / 2)
    return store.sweep(sweep.id)


def test_empty(visit, store) -> None:
    app = visit("sweeps")
    assert "No sweeps yet" in said(app)
    app = press(app, "new-sweep")
    assert address(app, "from") == "digits" and "New sweep" in said(app)


def test_a_sweep_is_launched_once(visit, store) -> None:
    run = runs_control.launch(store, BASE)
    app = visit("sweeps", **{"from": run.id})
    assert "Before you launch" in said(app)
    app.text_input(key="sw-values-privacy.max_grad_norm").set_value("0.2, 1").run()
    app.text_input(key="sw-values-training.learning_rate").set_value("0.1; 0.5").run()
    app.number_input(key="sw-seeds").set_value(3).run()
    assert [(each.label, each.value) for each in app.metric] == [("Combinations", "4"), ("Runs", "12")]
    assert "All 4 combinations can be launched." in said(app)
    assert "All runs together cost at most" in said(app)
    app = press(app, "launch-sweep")
    assert not app.exception
    (sweep,) = store.sweeps()
    assert address(app, "sweep") == sweep.id
    made = spec_of(sweep)
    assert made.base == BASE and made.seeds == 3
    assert made.space.to_raw() == {"privacy.max_grad_norm": [0.2, 1.0], "training.learning_rate": [0.1, 0.5]}


def test_what_all_runs_share_can_be_changed(visit, store) -> None:
    run = runs_control.launch(store, BASE)
    app = visit("sweeps", **{"from": run.id})
    assert "Digits · Logistic regression · " in said(app) and "δ = 0.0001" in said(app)
    # What varies, and the other way to say the noise, are no fields here.
    shown = {each.key for each in app.number_input if each.key.startswith("sw-base-")}
    assert shown == {
        f"sw-base-{path}"
        for path in ("privacy.noise_multiplier", "privacy.delta", "training.batch_size", "training.epochs")
    }
    app.number_input(key="sw-base-training.batch_size").set_value(0).run()
    assert "batch_size=0" in errors(app) and app.button(key="launch-sweep").disabled
    app.number_input(key="sw-base-training.batch_size").set_value(None).run()
    assert "batch size B is empty; give a number." in errors(app) and app.button(key="launch-sweep").disabled
    app.number_input(key="sw-base-training.batch_size").set_value(128).run()
    app.number_input(key="sw-base-training.epochs").set_value(3).run()
    app.number_input(key="sw-base-privacy.delta").set_value(1e-6).run()
    app.selectbox(key="sw-base-model.name").set_value("mlp").run()
    assert not app.error, errors(app)
    app.multiselect(key="sw-paths").set_value(["privacy.noise_multiplier"]).run()
    assert "sw-base-privacy.noise_multiplier" not in {each.key for each in app.number_input}
    press(app, "launch-sweep")
    (sweep,) = store.sweeps()
    assert spec_of(sweep).base == BASE.replace(
        model__name="mlp", training__batch_size=128, training__epochs=3, privacy__delta=1e-6
    )


def test_a_refusal_stands_at_its_entry_and_nothing_can_be_launched(visit, store) -> None:
    app = visit("sweeps", **{"from": "digits"})
    app.text_input(key="sw-values-privacy.max_grad_norm").set_value("0.2, much").run()
    app.number_input(key="sw-budget-runs").set_value(5000).run()
    assert "max_grad_norm='much' is refused: it is a number." in errors(app)
    assert "runs=5000 is refused: give a whole number from 1 to 1,000." in errors(app)
    assert app.button(key="launch-sweep").disabled
    app.multiselect(key="sw-paths").set_value(["privacy.noise_multiplier", "privacy.target_epsilon"]).run()
    assert "vary one of them" in errors(app)


def test_ranges_and_words(visit, store) -> None:
    app = visit("sweeps", **{"from": "digits"})
    app.multiselect(key="sw-paths").set_value(["training.learning_rate", "training.optimizer"]).run()
    app.selectbox(key="sw-kind-training.learning_rate").set_value("a range").run()
    app.multiselect(key="sw-values-training.optimizer").set_value(["sgd", "adam"]).run()
    app.number_input(key="sw-low-training.learning_rate").set_value(0.01).run()
    app.number_input(key="sw-high-training.learning_rate").set_value(1.0).run()
    assert app.metric[0].value == "6"
    app.number_input(key="sw-count-training.learning_rate").set_value(None).run()
    assert "a grid needs a step or a count" in errors(app)
    app.selectbox(key="sw-method").set_value("tpe").run()
    assert not app.error and app.metric[0].value == "20"
    assert "this bound holds nevertheless" in said(app)


def test_combinations_that_will_be_refused_are_shown_before(visit, store, monkeypatch) -> None:
    monkeypatch.setattr(ahead, "_PATIENCE", 600)
    app = visit("sweeps", **{"from": "digits"})
    app.multiselect(key="sw-paths").set_value(["privacy.delta"]).run()
    app.text_input(key="sw-values-privacy.delta").set_value("1e-5, 0.5").run()
    assert app.metric[0].value == "2"
    assert "δ = 0.5" in said(app) and not app.button(key="launch-sweep").disabled


def test_a_drawn_number_says_what_the_best_would_cost(visit, store) -> None:
    app = visit("sweeps", **{"from": "digits"})
    app.selectbox(key="sw-method").set_value("random").run()
    app.number_input(key="sw-trials").set_value(5).run()
    app.toggle(key="sw-drawn").set_value(True).run()
    assert not app.error, errors(app)
    assert "Publishing nothing but the best" in said(app)
    assert app.metric[1].value == "10 on average"


def test_the_draft_survives_another_page(visit, store) -> None:
    app = visit("sweeps", **{"from": "digits"})
    app.text_input(key="sw-name").set_value("mine").run()
    app.switch_page("../../pages/ledger.py").run()
    app.switch_page("../../pages/sweeps.py")
    app.query_params["from"] = "digits"
    app.run()
    assert app.text_input(key="sw-name").value == "mine"


def test_one_sweep(visit, store) -> None:
    sweep = driven(store, seeds=2)
    app = visit("sweeps", sweep=sweep.id)
    assert not app.error and "✓ finished" in said(app) and "Every combination was trained." in said(app)
    shown = app.dataframe[0].value
    assert list(shown["State"]) == ["done"] * 4
    assert list(shown["Test accuracy"]) == pytest.approx([0.8, 0.8, 0.4, 0.4])
    assert list(shown["Best"]) == ["★", "", "", ""]
    assert all(link.startswith("compare?runs=") and link.count(",") == 1 for link in shown["Compare"])
    assert "Best test accuracy **80.00 % ± 0.00 %** at C = 0.2, σ = 2" in said(app)
    labels = [each.label for each in app.metric]
    assert labels == ["All its 8 runs together", "Certain beforehand", "Only the best published"]
    assert app.metric[2].value == "–"
    assert "a person chose the number of runs" in said(app)
    assert "part of its lead is luck" in said(app)


def test_a_clicked_cell_or_result_picks_its_combinations(visit, store) -> None:
    sweep = driven(store, seeds=2)
    everything = visit("sweeps", sweep=sweep.id).dataframe[0].value
    bound, noise = list(everything.columns[1:3])
    app = visit("sweeps", sweep=sweep.id, pick="0.2~2.0")
    shown = app.dataframe[0].value
    assert len(shown) == 1 and (shown[bound][0], shown[noise][0]) == ("0.2", "2")
    assert "Combinations with C = 0.2, σ = 2" in said(app)
    app = press(app, "sweep-unpick")
    assert len(app.dataframe[0].value) == 4 and "pick" not in app.query_params
    run = next(run for run in store.list(group=sweep.id) if run.config.privacy.max_grad_norm == 1.0)
    picked = visit("sweeps", sweep=sweep.id, pick=run.id).dataframe[0].value
    assert list(picked[bound]) == ["1"] and len(picked) == 1
    assert len(visit("sweeps", sweep=sweep.id, pick="nosuch").dataframe[0].value) == 4


def test_an_unknown_sweep(visit, store) -> None:
    app = visit("sweeps", sweep="nobody")
    assert "There is no sweep 'nobody' here" in errors(app) and "No sweeps yet" in said(app)


def test_pause_resume_stop_extend_forget(visit, store) -> None:
    sweep = driven(store, rounds=1, at_once=1)
    app = visit("sweeps", sweep=sweep.id)
    app = press(app, "sweep-pause")
    assert store.sweep(sweep.id).state is SweepState.PAUSED and "❙❙ paused" in said(app)
    app = press(app, "sweep-resume")
    assert store.sweep(sweep.id).state is SweepState.RUNNING
    app = press(app, "sweep-stop")
    assert store.sweep(sweep.id).state is SweepState.STOPPED
    app.number_input(key="extend-seeds").set_value(1).run()
    assert "**8** runs at most instead of 4" in said(app)
    app = press(app, "confirm-extend")
    now = store.sweep(sweep.id)
    assert now.state is SweepState.RUNNING and spec_of(now).seeds == 2
    control.stop(store, sweep.id)
    Conductor(store, lambda: True).look()
    app = press(visit("sweeps", sweep=sweep.id), "sweep-delete")
    assert not app.exception and store.sweeps() == [] and "No sweeps yet" in said(app)


def test_refused_and_unguarded_runs_are_said(visit, store) -> None:
    sweep = driven(store, space={"privacy.noise_multiplier": [0.0, 2.0], "privacy.delta": [1e-5, 0.5]})
    app = visit("sweeps", sweep=sweep.id)
    assert "combination" in app.expander[0].label and "not launched" in app.expander[0].label
    assert "∞" in list(app.dataframe[0].value["ε"])
    assert "for everything together ε = ∞" in said(app)


def test_a_guided_search_says_that_the_first_number_is_not_proved(visit, store) -> None:
    sweep = driven(store, method="tpe", trials=3)
    app = visit("sweeps", sweep=sweep.id)
    assert "The first number is not proved for this search" in said(app)
    assert "earlier results chose the settings of later runs" in said(app)


def test_the_list(visit, store) -> None:
    driven(store, name="first_one")
    driven(store, rounds=0, name="second")
    app = visit("sweeps")
    assert "✓ finished" in said(app) and "● running" in said(app)
    assert "best test accuracy **80.00 %**" in said(app) and "nothing finished yet" in said(app)


def test_a_failed_run_tells_why(visit, store) -> None:
    sweep = control.create(store, spec(at_once=1))
    conductor = Conductor(store, lambda: True)
    for _ in range(3):
        conductor.look()
        (run,) = store.list(group=sweep.id, status=[Status.QUEUED])
        store.move(run.id, Status.STARTING)
        store.move(run.id, Status.FAILED, error="The disk is full.")
    app = visit("sweeps", sweep=sweep.id)
    assert "The disk is full." in app.dataframe[0].value["Note"][0]


def test_the_ledger_adds_each_search_up(visit, store) -> None:
    driven(store, method="tpe", trials=3)
    app = visit("ledger")
    (link,) = app.get("page_link")
    assert link.proto.label.startswith("Sweep C by σ: 3 runs, together ε = ")
    assert "(not proved: earlier results chose" in link.proto.label
