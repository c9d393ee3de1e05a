"""What a search costs: the numbers by hand, and a refusal wherever a theorem does not apply."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.privacy.accounting import epsilon_of
from privlab.privacy.phases import Phase
from privlab.privacy.selection import selection_epsilon
from privlab.runs import control as runs_control
from privlab.runs.record import Status
from privlab.runs.store import Store
from privlab.runs.sweeprecord import Sweep
from privlab.sweeps import control
from privlab.sweeps.conductor import Conductor
from privlab.sweeps.cost import SearchCost, search_costs, worst_run
from privlab.sweeps.results import standing
from tests.sweeping import BASE, finish_all, spec

CLIPS = {"privacy.max_grad_norm": [0.2, 0.5, 1.0]}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return Store()


def finished(store: Store, **changes) -> Sweep:
    sweep = control.create(store, spec(**changes))
    conductor = Conductor(store, lambda: True)
    for _ in range(60):
        conductor.look()
        finish_all(store, sweep.id, lambda run: run.config.privacy.max_grad_norm / 2)
    return store.sweep(sweep.id)


def cost(store: Store, sweep: Sweep) -> SearchCost:
    (found,) = search_costs(store, standing(store, sweep.id))
    return found


def one_phase(seeds: int = 1) -> Phase:
    (phase,) = preflight(BASE).plan.phases
    return replace(phase, steps=phase.steps * seeds)


def test_a_grid_costs_all_its_runs(store: Store) -> None:
    found = cost(store, finished(store, space=CLIPS, seeds=2))
    assert found.adaptive is None
    assert found.ledger.epsilon == pytest.approx(epsilon_of((one_phase(6),), BASE.privacy.delta), abs=1e-9)
    assert found.beforehand == pytest.approx(found.ledger.epsilon, abs=1e-9)
    assert found.best is None and "a person chose the number of runs" in found.no_best


def test_other_runs_on_the_data_are_not_the_searchs(store: Store) -> None:
    other = store.create(BASE, preflight(BASE).plan)
    from tests.sweeping import to_its_end

    to_its_end(store, other, 0.5)
    assert len(cost(store, finished(store, space=CLIPS)).ledger.private) == 3


@pytest.mark.parametrize(
    "changes, words",
    [
        pytest.param({"method": "tpe", "trials": 4}, "earlier results chose", id="guided"),
        pytest.param({"method": "random", "trials": 4, "prune": "step"}, "ended others", id="pruned"),
    ],
)
def test_where_results_decide_only_a_bound_fixed_beforehand_holds(store: Store, changes, words) -> None:
    free = {"privacy.noise_multiplier": {"low": 2.0, "high": 4.0}, "training.epochs": {"low": 1, "high": 2}}
    found = cost(store, finished(store, space=free, seeds=2, **changes))
    assert words in found.adaptive
    (phase,) = preflight(BASE.replace(privacy__noise_multiplier=2.0, training__epochs=2)).plan.phases
    assert found.beforehand == pytest.approx(epsilon_of((replace(phase, steps=8 * phase.steps),), BASE.privacy.delta))
    assert found.ledger.epsilon < found.beforehand


def test_no_bound_where_there_is_none(store: Store) -> None:
    assert worst_run(spec(space={"privacy.noise_multiplier": [0.0, 1.0]}), "digits") is None
    assert worst_run(spec(space={"privacy.randomness": ["private", "reproducible"]}), "digits") is None
    assert worst_run(spec(space={"privacy.protection": ["none", "rounded"]}), "digits") is None
    # A corner that is refused says nothing of what lies beside it.
    assert worst_run(spec(space={"privacy.delta": [1e-5, 0.5]}), "digits") is None
    sweep = finished(store, space=CLIPS, method="tpe", trials=2)
    control.extend(store, sweep.id, trials=1)
    found = cost(store, sweep)
    assert found.beforehand is None


def test_the_worst_run_bounds_every_candidate() -> None:
    made = spec(
        space={
            "training.batch_size": {"low": 64, "high": 256, "count": 3},
            "training.epochs": [1, 3],
            "privacy.target_epsilon": [1.0, 2.0],
        },
    )
    phase, _, _ = worst_run(made, "digits")
    plans = [each.checked.plan for each in control.candidates(made)]
    assert len(plans) == 12
    for plan in plans:
        (own,) = plan.phases
        assert own.sample_rate <= phase.sample_rate and own.steps <= phase.steps
        assert own.noise_multiplier >= phase.noise_multiplier


def test_the_best_of_a_drawn_number(store: Store) -> None:
    sweep = finished(store, space=CLIPS, method="random", trials=4, trials_drawn=True, seeds=2)
    assert sweep.drawn >= 1 and len(standing(store, sweep.id).rows) == sweep.drawn
    found = cost(store, sweep)
    (phase,) = preflight(BASE).plan.phases
    # One trial is the training of both seeds.
    both = replace(phase, steps=2 * phase.steps)
    assert found.best == pytest.approx(selection_epsilon((both,), BASE.privacy.delta, 4, "geometric"))
    with pytest.raises(control.SweepActionError, match="drawn before the first one"):
        control.extend(store, sweep.id, seeds=1)


def test_the_drawn_number_follows_no_seed_and_its_law() -> None:
    numbers = [control._geometric(5) for _ in range(4000)]
    assert min(numbers) == 1
    # Mean 5, standard deviation √20 = 4.5: of 4,000 the mean is within 0.5 but once in 10¹¹.
    assert sum(numbers) / 4000 == pytest.approx(5, abs=0.5)


def test_a_drawn_number_that_was_not_run_to_its_end_promises_nothing(store: Store) -> None:
    sweep = control.create(store, spec(space=CLIPS, method="random", trials=20, trials_drawn=True, at_once=1))
    Conductor(store, lambda: True).look()
    finish_all(store, sweep.id, lambda run: 0.5)
    control.stop(store, sweep.id)
    found = cost(store, sweep)
    assert found.best is None and "did not run to the end" in found.no_best
    assert "a person ended" in found.adaptive


def test_a_run_without_a_guarantee_makes_it_infinite(store: Store) -> None:
    found = cost(store, finished(store, space={"privacy.noise_multiplier": [0.0, 2.0]}))
    assert found.ledger.epsilon == float("inf") and found.beforehand is None
    assert len(found.ledger.unprotected) == 1


def test_before_the_first_point_nothing_is_spent(store: Store) -> None:
    sweep = control.create(store, spec(space=CLIPS, at_once=1))
    Conductor(store, lambda: True).look()
    assert len(store.list(group=sweep.id)) == 1
    assert search_costs(store, standing(store, sweep.id)) == []


def test_a_run_that_a_person_made_longer_breaks_every_bound(store: Store) -> None:
    sweep = finished(store, space=CLIPS, method="random", trials=3)
    assert cost(store, sweep).adaptive is None and cost(store, sweep).beforehand is not None
    run = store.list(group=sweep.id)[0]
    runs_control.extend(store, run.id, 5)
    longer = store.get(run.id)
    store.move(run.id, Status.STARTING)
    store.move(run.id, Status.RUNNING)
    store.append(run.id, Point(longer.steps, 7.0, 9.0, 2.0, {"test_accuracy": 0.9}))
    found = cost(store, sweep)
    assert "a person changed one of its runs" in found.adaptive
    assert found.beforehand is None


def test_a_run_that_a_person_stopped_is_said(store: Store) -> None:
    sweep = control.create(store, spec(space=CLIPS, at_once=1))
    conductor = Conductor(store, lambda: True)
    conductor.look()
    (run,) = store.list(group=sweep.id)
    store.move(run.id, Status.STARTING)
    store.move(run.id, Status.RUNNING)
    store.append(run.id, Point(1, 0.1, 1.0, 0.1, {"test_accuracy": 0.1}))
    store.move(run.id, Status.STOPPED)
    for _ in range(4):
        conductor.look()
        finish_all(store, sweep.id, lambda run: 0.5)
    found = cost(store, store.sweep(sweep.id))
    assert "a person stopped one of its runs" in found.adaptive
    # It did less than was planned, which the number fixed beforehand allows.
    assert found.beforehand > found.ledger.epsilon
