"""Measured costs: under what name they are kept, what a run will take by them, and what is said of a method that cannot."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from privlab.config import RunConfig, load_preset
from privlab.metrics import Cost, Point
from privlab.preflight import preflight
from privlab.runs import costs
from privlab.runs.estimate import estimate
from privlab.runs.store import Store

DIGITS = load_preset("digits")
COST = Cost(0.01, 0.009, 0.012, 3_000_000, 50, 1.0, 0.1, "CPU")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return tmp_path


def kept(config: RunConfig = DIGITS, **by_method: Cost) -> costs.Costs:
    named = {method.replace("_", "-"): asdict(cost) for method, cost in by_method.items()}
    return costs.keep(costs.key(config), named, {})


SAME = [
    {"training__epochs": 7},
    {"training__learning_rate": 0.01},
    {"training__seed": 3},
    {"privacy__target_epsilon": 1.0},
    {"privacy__max_grad_norm": 2.0},
    {"privacy__noise_schedule": "linear"},
    {"performance__gradient_method": "hooks"},
    {"encryption__mode": "sealed"},
    {"name": "another"},
]
OTHER = [
    {"data__dataset": "fashion-mnist-6k"},
    {"model__name": "logistic"},
    {"training__batch_size": 128},
    {"training__augmentations": 2},
    {"training__optimizer": "adam"},
    {"training__ema_decay": 0.9},
    {"privacy__clipping": "per-layer"},
    {"privacy__bands": 4},
    {"privacy__protection": "rounded"},
    {"privacy__randomness": "reproducible"},
    {"performance__physical_batch_size": 64},
    {"performance__precision": "bfloat16"},
    {"performance__device": "cpu"},
]


@pytest.mark.parametrize("change", SAME, ids=lambda change: "".join(change))
def test_settings_that_no_step_depends_on_share_a_measurement(change: dict) -> None:
    assert costs.key(DIGITS.replace(**change)) == costs.key(DIGITS)


@pytest.mark.parametrize("change", OTHER, ids=lambda change: "".join(change))
def test_settings_that_a_step_depends_on_are_measured_anew(change: dict) -> None:
    assert costs.key(DIGITS.replace(**change)) != costs.key(DIGITS)


@pytest.mark.parametrize("part", ["_machine", "_versions", "threads_for"])
def test_another_machine_library_or_number_of_threads_is_measured_anew(part: str, monkeypatch) -> None:
    before = costs.key(DIGITS)
    monkeypatch.setattr(costs, part, lambda *_: 17)
    assert costs.key(DIGITS) != before


def test_what_was_kept_is_known_again() -> None:
    assert costs.known(DIGITS) is None
    made = costs.keep(
        costs.key(DIGITS), {"one-pass": asdict(COST)}, {"hooks": "It needs more memory than is free here."}
    )
    assert costs.known(DIGITS) == made
    assert made.costs == {"one-pass": COST}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"costs": {"one-pass": {"seconds": 1}}, "failures": {}, "when": 0}'])
def test_a_damaged_file_is_as_none(home: Path, text: str) -> None:
    kept(one_pass=COST)
    (home / "costs" / f"{costs.key(DIGITS)}.json").write_text(text)
    assert costs.known(DIGITS) is None


def test_a_run_takes_its_steps_and_its_evaluations() -> None:
    """845 steps; 60 points, the last of which has all of the 355 test records as the others do."""
    checked = preflight(DIGITS)
    known = kept(one_pass=COST, hooks=replace(COST, seconds=0.02))
    assert (checked.plan.steps, checked.dataset.test_records) == (845, 355)
    assert known.run_seconds(checked) == pytest.approx(845 * 0.01 + 60 * 0.1)
    assert known.run_seconds(checked, "hooks") == pytest.approx(845 * 0.02 + 60 * 0.1)
    assert known.run_seconds(checked, "ghost") is None
    large = preflight(DIGITS.replace(data__dataset="mnist", privacy__delta=1e-5))
    points = 60 - 1 + 10_000 / 2000
    assert known.run_seconds(large) == pytest.approx(large.plan.steps * 0.01 + points * 0.1)


def test_the_chosen_method_is_measured_first_and_the_floor_next() -> None:
    assert costs.methods_for(preflight(DIGITS)) == (["one-pass", "plain", "hooks", "ghost"], {})
    ghost = preflight(DIGITS.replace(performance__gradient_method="ghost"))
    assert costs.methods_for(ghost)[0] == ["ghost", "plain", "one-pass", "hooks"]
    assert costs.methods_for(preflight(load_preset("no-privacy"))) == (["plain"], {})


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"privacy__clipping": "per-layer"}, {"ghost": "clipping=per-layer weighs each layer by itself"}),
        ({"training__augmentations": 4}, {"ghost": "augmentations=4 averages gradients before clipping"}),
        ({"performance__precision": "bfloat16"}, {"hooks": "precision=bfloat16", "ghost": "precision=bfloat16"}),
    ],
    ids=lambda value: "".join(value),
)
def test_a_method_that_cannot_is_named_with_its_reason(change: dict, reasons: dict[str, str]) -> None:
    methods, cannot = costs.methods_for(preflight(DIGITS.replace(**change)))
    assert cannot.keys() == reasons.keys() and not cannot.keys() & set(methods)
    for method, words in reasons.items():
        assert words in cannot[method]


def test_the_estimate_takes_measured_steps_where_no_run_tells() -> None:
    store, checked = Store(), preflight(DIGITS)
    assert estimate(store, checked) is None
    known = kept(hooks=COST)
    assert estimate(store, checked) is None, "another method's step says nothing"
    known = kept(one_pass=COST)
    found = estimate(store, checked)
    assert (found.seconds, found.source) == (known.run_seconds(checked), "steps")
    stored = DIGITS.replace(encryption__mode="pad")
    assert costs.known(stored) and estimate(store, preflight(stored)) is None, "a store's share was not measured"
    run = store.create(DIGITS, checked.plan)
    store.append(run.id, Point(10, 1.0, 5.0, 0.1, {}))
    found = estimate(store, checked)
    assert (found.seconds, found.source) == (pytest.approx(5.0 * 845 / 10), "runs")
    store.close()
