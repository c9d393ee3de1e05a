"""The ledger: every run counts, also those that are gone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from privlab.config import load_preset
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.privacy.accounting import epsilon_of
from privlab.runs.ledger import best_of, is_public, ledger, ledgers, no_best, set_public
from privlab.runs.record import Run, Status
from privlab.runs.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return Store()


def done(store: Store, preset: str = "digits", steps: int = 20, **settings) -> Run:
    config = load_preset(preset).replace(**settings)
    run = store.create(config, preflight(config).plan)
    if steps:
        store.append(run.id, Point(steps, 1.0, 1.0, 0.5 if run.plan.is_private else None, {}))
    store.move(run.id, Status.STOPPED)
    return store.get(run.id)


def test_runs_compose_from_the_steps_done(store: Store) -> None:
    first, second = done(store, steps=20), done(store, steps=30)
    done(store, steps=0)
    found = ledger(store, "digits")
    assert [each.run_id for each in found.private] == [first.id, second.id]
    (phase,) = first.plan.phases_until(20)
    assert found.alone[0] == epsilon_of((phase,), found.delta)
    assert found.alone[0] <= found.cumulative[0] <= 1.001 * found.alone[0]
    assert found.cumulative[-1] == pytest.approx(found.epsilon, abs=1e-9)
    assert found.epsilon == pytest.approx(epsilon_of((replace(phase, steps=50),), found.delta), abs=1e-9)
    assert found.others(first.id) == 1


def test_what_runs_cost_together_is_told_after_each(store: Store) -> None:
    for level in ("weak", "medium", "strong", "weak"):
        done(store, level, steps=15)
    found = ledger(store, "digits")
    for place, total in enumerate(found.cumulative):
        exact = found._together(found.private[: place + 1])
        assert exact - 1e-9 <= total <= 1.001 * exact
    assert list(found.cumulative) == sorted(found.cumulative)


def test_deleted_and_purged_runs_have_spent(store: Store) -> None:
    gone = done(store)
    before = ledger(store, "digits").epsilon
    store.delete(gone.id)
    assert (ledger(store, "digits").epsilon, ledger(store, "digits").private[0].state) == (before, "deleted")
    assert store.purge(older_than=0) == [gone.id]
    assert (ledger(store, "digits").epsilon, ledger(store, "digits").private[0].state) == (before, "removed")


def test_a_run_without_guarantee_makes_it_infinite(store: Store) -> None:
    done(store)
    done(store, privacy__randomness="reproducible")
    done(store, "clip-only")
    found = ledger(store, "digits")
    assert len(found.unprotected) == 2
    assert math.isinf(found.epsilon)
    assert math.isfinite(found.private_runs_epsilon)
    assert best_of(found, "geometric") is None


def test_a_broken_run_has_no_guarantee_also_when_it_is_removed(store: Store) -> None:
    done(store)
    broken = done(store)
    assert math.isfinite(ledger(store, "digits").epsilon)
    store.add_event(broken.id, "void", "", {"void": "The noise is halved."})
    assert [each.run_id for each in ledger(store, "digits").unprotected] == [broken.id]
    store.delete(broken.id)
    store.purge(older_than=0)
    found = ledger(store, "digits")
    assert [(each.run_id, each.state) for each in found.unprotected] == [(broken.id, "removed")]
    assert math.isinf(found.epsilon)


def test_the_best_of_rounded_runs_is_not_made_up(store: Store) -> None:
    done(store, privacy__protection="rounded")
    found = ledger(store, "digits")
    assert "rounded" in no_best(found)
    assert best_of(found, "geometric") is None


def test_the_best_of_many_costs_less_than_all(store: Store) -> None:
    for _ in range(6):
        done(store)
    found = ledger(store, "digits")
    assert found.alone[0] < best_of(found, "logarithmic") < best_of(found, "geometric")


def test_the_smallest_delta_and_the_stronger_adjacency_count(store: Store) -> None:
    done(store, privacy__delta=1e-5)
    alone = ledger(store, "digits").epsilon
    done(store, privacy__adjacency="replace-one")
    found = ledger(store, "digits")
    assert (found.delta, found.adjacency) == (1e-5, "replace-one")
    assert found.alone[0] > alone
    assert best_of(found, "geometric") is None


def test_the_mark_is_kept(store: Store) -> None:
    done(store)
    assert not is_public(store, "digits")
    set_public(store, "digits", True)
    assert ledgers(Store())[0].public
    set_public(store, "digits", False)
    assert not is_public(Store(), "digits")
