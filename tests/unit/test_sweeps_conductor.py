"""Driving sweeps: every run once, budgets kept, pauses and ends passed on. Runs are ended by the test, as a worker would."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from privlab.config import ConfigError
from privlab.metrics import Point
from privlab.runs import control as runs_control
from privlab.runs.record import Reason, Run, Status
from privlab.runs.store import Store, UnknownSweep
from privlab.runs.sweeprecord import SweepState
from privlab.sweeps import control
from privlab.sweeps.conductor import MOST_ATTEMPTS, Conductor
from privlab.sweeps.control import SweepActionError
from privlab.sweeps.progress import progress
from privlab.sweeps.results import standing
from tests.sweeping import BASE, finish_all, spec, to_its_end


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return Store()


@pytest.fixture
def conductor(store: Store) -> Conductor:
    return Conductor(store, lambda: True)


def by_clip(run: Run) -> float:
    return 0.9 - 0.1 * run.config.privacy.max_grad_norm - 0.01 * run.config.privacy.noise_multiplier


def to_the_end(store: Store, conductor: Conductor, sweep_id: str, score=by_clip, rounds: int = 200) -> None:
    for _ in range(rounds):
        conductor.look()
        if store.sweep(sweep_id).state is not SweepState.RUNNING:
            return
        finish_all(store, sweep_id, score)
    raise AssertionError(f"not at its end: {progress(store, standing(store, sweep_id))}")


def waiting(store: Store, sweep_id: str) -> list[Run]:
    return store.list(group=sweep_id, status=[Status.QUEUED])


def test_a_grid_with_seeds_runs_each_combination_once(store: Store, conductor: Conductor) -> None:
    sweep = control.create(store, spec(seeds=2, at_once=3))
    conductor.look()
    conductor.look()
    assert len(waiting(store, sweep.id)) == 3
    to_the_end(store, conductor, sweep.id)
    runs = store.list(group=sweep.id)
    told = {(r.config.privacy.max_grad_norm, r.config.privacy.noise_multiplier, r.config.training.seed) for r in runs}
    assert len(runs) == len(told) == 8
    now = standing(store, sweep.id)
    assert now.sweep.reason == "Every combination was trained."
    assert now.best().trial.values == {"privacy.max_grad_norm": 0.2, "privacy.noise_multiplier": 2.0}
    assert now.best().mean("test_accuracy") == pytest.approx(0.86) and now.best().spread("test_accuracy") == 0
    ended = progress(store, now)
    assert (ended.done, ended.total, ended.share, ended.seconds_left) == (8, 8, 1.0, 0.0)


def test_two_presses_make_one_sweep(store: Store) -> None:
    first = control.create(store, spec(), launch_key="press")
    assert control.create(store, spec(), launch_key="press").id == first.id
    assert len(store.sweeps()) == 1


def test_refused_candidates_are_listed_and_not_launched(store: Store, conductor: Conductor) -> None:
    # δ must stay below 1 / N: the second value passes its own bounds and not the preflight.
    sweep = control.create(store, spec(space={"privacy.delta": [1e-5, 0.5]}))
    to_the_end(store, conductor, sweep.id)
    now = standing(store, sweep.id)
    assert [row.state for row in now.rows] == ["done", "refused"]
    assert "0.5" in now.refused[0].trial.refused and not now.refused[0].results
    assert len(store.list(group=sweep.id)) == 1
    (good, bad) = control.candidates(spec(space={"privacy.delta": [1e-5, 0.5]}))
    assert good.checked and bad.refused == now.refused[0].trial.refused


def test_a_search_of_nothing_but_impossible_combinations_ends(store: Store, conductor: Conductor) -> None:
    sweep = control.create(store, spec(method="random", trials=200, space={"privacy.delta": {"low": 0.3, "high": 0.6}}))
    conductor.look()
    now = standing(store, sweep.id)
    assert (now.sweep.state, len(now.rows)) == (SweepState.FINISHED, 50)
    assert "all refused" in now.sweep.reason


def test_budget_of_runs(store: Store, conductor: Conductor) -> None:
    sweep = control.create(store, spec(seeds=2, budget={"runs": 3}))
    to_the_end(store, conductor, sweep.id)
    assert len(store.list(group=sweep.id)) == 3
    assert store.sweep(sweep.id).reason == "The budget of 3 runs is spent."
    control.extend(store, sweep.id, runs=2)
    to_the_end(store, conductor, sweep.id)
    assert len(store.list(group=sweep.id)) == 5


def test_budget_of_hours(store: Store, conductor: Conductor) -> None:
    sweep = control.create(store, spec(at_once=1, budget={"hours": 1.0}))
    conductor.look()
    store.add_sweep_seconds(sweep.id, 3600)
    to_the_end(store, conductor, sweep.id)
    assert len(store.list(group=sweep.id)) == 1
    assert "1 hours" in store.sweep(sweep.id).reason


def test_budget_of_epsilon_is_never_passed(store: Store, conductor: Conductor) -> None:
    made = spec(space={"privacy.max_grad_norm": [0.1, 0.2, 0.3, 0.4, 0.5]}, budget={"epsilon": 2.0})
    sweep = control.create(store, made)
    to_the_end(store, conductor, sweep.id)
    from privlab.sweeps.cost import search_costs

    now = standing(store, sweep.id)
    (cost,) = search_costs(store, now)
    assert 1 < now.launched < 5
    assert cost.ledger.epsilon <= 2.0
    assert "would pass the budget of ε = 2" in now.sweep.reason


def test_without_a_guarantee_there_is_no_budget_of_epsilon(store: Store, conductor: Conductor) -> None:
    sweep = control.create(store, spec(space={"privacy.noise_multiplier": [0.0, 2.0]}, budget={"epsilon": 50.0}))
    to_the_end(store, conductor, sweep.id)
    assert [row.state for row in standing(store, sweep.id).rows] == ["refused", "done"]


def test_pause_resume_stop(store: Store, conductor: Conductor) -> None:
    sweep = control.create(store, spec(seeds=2, at_once=2))
    conductor.look()
    control.pause(store, sweep.id)
    conductor.look()
    assert {run.status for run in store.list(group=sweep.id)} == {Status.PAUSED}
    # A person may go on with one of them: the sweep pauses it no second time.
    one = store.list(group=sweep.id)[0]
    runs_control.resume(store, one.id)
    conductor.look()
    assert store.get(one.id).status is Status.QUEUED
    control.resume(store, sweep.id)
    conductor.look()
    assert {run.status for run in store.list(group=sweep.id)} == {Status.QUEUED}
    control.stop(store, sweep.id)
    conductor.look()
    assert {run.status for run in store.list(group=sweep.id)} == {Status.STOPPED}
    assert store.sweep(sweep.id).reason == "Stopped by a person."
    control.resume(store, sweep.id)
    to_the_end(store, conductor, sweep.id)
    assert len(store.list(group=sweep.id, status=[Status.FINISHED])) == 8


def test_refused_actions_say_why(store: Store, conductor: Conductor) -> None:
    sweep = control.create(store, spec())
    with pytest.raises(SweepActionError, match="running sweep cannot be resumed"):
        control.resume(store, sweep.id)
    with pytest.raises(SweepActionError, match="a grid tries every combination"):
        control.extend(store, sweep.id, trials=3)
    with pytest.raises(SweepActionError, match="no budget of hours"):
        control.extend(store, sweep.id, hours=3)
    with pytest.raises(ConfigError, match="seeds=251 is refused: give a whole number from 1 to 100"):
        control.extend(store, sweep.id, seeds=250)
    with pytest.raises(SweepActionError, match="cannot be deleted"):
        control.delete(store, sweep.id)
    with pytest.raises(UnknownSweep):
        control.pause(store, "nobody")
    to_the_end(store, conductor, sweep.id)
    assert control.actions(store.sweep(sweep.id)) == {"extend", "delete"}
    control.delete(store, sweep.id)
    assert store.sweeps() == [] and len(store.list()) == 4


def test_more_seeds_train_what_is_there_again(store: Store, conductor: Conductor) -> None:
    sweep = control.create(store, spec())
    to_the_end(store, conductor, sweep.id)
    control.extend(store, sweep.id, seeds=2)
    to_the_end(store, conductor, sweep.id)
    assert [len(row.results) for row in standing(store, sweep.id).rows] == [3, 3, 3, 3]
    assert store.sweep(sweep.id).extended == 1


def test_more_trials_of_a_search(store: Store, conductor: Conductor) -> None:
    sweep = control.create(
        store, spec(method="random", trials=2, space={"training.learning_rate": {"low": 0.1, "high": 1}})
    )
    to_the_end(store, conductor, sweep.id)
    control.extend(store, sweep.id, trials=3)
    to_the_end(store, conductor, sweep.id)
    assert len(store.list(group=sweep.id)) == 5


def test_runs_that_nobody_halted_go_on(store: Store, conductor: Conductor) -> None:
    sweep = control.create(store, spec(at_once=1))
    conductor.look()
    (run,) = waiting(store, sweep.id)
    for _ in range(MOST_ATTEMPTS - 1):
        store.move(run.id, Status.STARTING)
        store.move(run.id, Status.FAILED, error="killed")
        conductor.look()
        assert store.get(run.id).status is Status.QUEUED
    store.move(run.id, Status.STARTING)
    store.move(run.id, Status.RUNNING)
    store.request(run.id, "pause", Reason.APP_CLOSED)
    store.move(run.id, Status.PAUSED)
    conductor.look()
    assert store.get(run.id).status is Status.QUEUED
    store.move(run.id, Status.STARTING)
    store.move(run.id, Status.FAILED, error="killed again")
    to_the_end(store, conductor, sweep.id)
    now = standing(store, sweep.id)
    assert [row.state for row in now.rows] == ["failed", "done", "done", "done"]
    assert progress(store, now).failed == 1


def test_a_run_whose_claim_is_void_is_not_tried_again(store: Store, conductor: Conductor) -> None:
    sweep = control.create(store, spec(at_once=1))
    conductor.look()
    (run,) = waiting(store, sweep.id)
    store.move(run.id, Status.STARTING)
    store.add_event(run.id, "void", "The noise is not what the plan says.")
    store.move(run.id, Status.FAILED, error="void")
    to_the_end(store, conductor, sweep.id)
    assert store.get(run.id).attempt == 1


def test_a_run_that_a_person_deleted_is_not_launched_again(store: Store, conductor: Conductor) -> None:
    sweep = control.create(store, spec(at_once=1))
    conductor.look()
    (run,) = waiting(store, sweep.id)
    runs_control.delete(store, run.id)
    to_the_end(store, conductor, sweep.id)
    store.purge(older_than=-1)
    assert len(store.list(group=sweep.id, deleted=None)) == 3
    conductor.look()
    assert standing(store, sweep.id).rows[0].results[0].status == "stopped"


def test_what_a_removed_run_reached_still_counts(store: Store, conductor: Conductor) -> None:
    sweep = control.create(store, spec())
    to_the_end(store, conductor, sweep.id)
    before = [(row.mean("test_accuracy"), row.epsilon) for row in standing(store, sweep.id).rows]
    for run in store.list(group=sweep.id):
        store.delete(run.id)
    store.purge(older_than=-1)
    assert store.list(group=sweep.id, deleted=None) == []
    assert [(row.mean("test_accuracy"), row.epsilon) for row in standing(store, sweep.id).rows] == before


def test_a_hopeless_run_is_stopped_and_spares_its_other_seeds(store: Store, conductor: Conductor) -> None:
    values = [0.1, 0.2, 0.3, 0.4, 9.0]
    made = spec(space={"privacy.max_grad_norm": values}, seeds=2, at_once=1, prune="step")
    sweep = control.create(store, made)
    while len(standing(store, sweep.id).rows) < 5:
        conductor.look()
        if store.list(group=sweep.id, status=[Status.QUEUED])[0].config.privacy.max_grad_norm < 9:
            finish_all(store, sweep.id, lambda run: 0.9)
    (bad,) = waiting(store, sweep.id)
    store.move(bad.id, Status.STARTING)
    store.move(bad.id, Status.RUNNING)
    # The others' curves have one point each, at their end.
    store.append(bad.id, Point(bad.steps, 1.0, 1.0, 0.1, {"test_accuracy": 0.2}))
    conductor.look()
    assert store.get(bad.id).requested == "stop"
    store.move(bad.id, Status.STOPPED)
    to_the_end(store, conductor, sweep.id)
    now = standing(store, sweep.id)
    assert [row.state for row in now.rows] == ["done"] * 4 + ["ended early"]
    assert "below the median 90.00 % of 8 other runs" in now.rows[4].results[0].kept.pruned
    assert (progress(store, now).total, progress(store, now).pruned) == (9, 1)


def test_what_can_no_longer_be_launched_pauses_the_sweep(store: Store, conductor: Conductor, monkeypatch) -> None:
    sweep = control.create(store, spec(at_once=1))

    def refuse(*_args, **_more):
        raise runs_control.RunActionError("The key is gone.")

    monkeypatch.setattr(runs_control, "launch", refuse)
    conductor.look()
    now = store.sweep(sweep.id)
    assert (now.state, now.reason) == (SweepState.PAUSED, "The next run cannot be launched: The key is gone.")


def test_a_data_set_that_is_not_here_is_said_before(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"(?i)fashion"):
        control.create(store, spec(space={"data.dataset": ["digits", "fashion-mnist"]}, base=BASE.to_dict()))
    assert store.sweeps() == []


def test_a_guided_search_learns_from_what_finished(store: Store, conductor: Conductor) -> None:
    free = {"privacy.max_grad_norm": {"low": 0.01, "high": 10.0, "log": True}}
    sweep = control.create(store, spec(space=free, method="tpe", trials=24, at_once=2))
    to_the_end(store, conductor, sweep.id)
    found = [row.trial.values["privacy.max_grad_norm"] for row in standing(store, sweep.id).rows]
    assert len(set(found)) == 24
    # by_clip is best where C is least. (ε is no goal here: nothing that is varied changes it.)
    assert statistics.median(found[12:]) < statistics.median(found[:8]) / 2


def test_another_folders_sweep_is_left_alone(store: Store, conductor: Conductor, tmp_path: Path, monkeypatch) -> None:
    sweep = control.create(store, spec())
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    conductor.look()
    assert store.list() == [] and store.sweep(sweep.id).state is SweepState.RUNNING


def test_an_ended_run_is_helped_to_its_end(store: Store) -> None:
    """The tests' own worker leaves what a real one does."""
    run = runs_control.launch(store, BASE)
    to_its_end(store, run, 0.5)
    assert store.get(run.id).status is Status.FINISHED


def test_the_order_of_the_file_is_the_order_of_the_grid(store: Store, conductor: Conductor) -> None:
    space = {"training.learning_rate": [0.5, 0.1], "privacy.max_grad_norm": [0.2, 1.0]}
    sweep = control.create(store, spec(space=space))
    to_the_end(store, conductor, sweep.id)
    found = [tuple(row.trial.values.values()) for row in standing(store, sweep.id).rows]
    assert found == [(0.5, 0.2), (0.5, 1.0), (0.1, 0.2), (0.1, 1.0)]


def test_the_thread_drives_and_ends(store: Store) -> None:
    sweep = control.create(store, spec(at_once=4))
    active = [False]
    running = Conductor(store, lambda: active[0])
    running.start()
    try:
        time.sleep(0.5)
        assert store.list() == []
        active[0] = True
        until = time.monotonic() + 60
        while len(store.list(group=sweep.id)) < 4 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(store.list(group=sweep.id)) == 4
    finally:
        running.stop()
    assert running.problem is None
