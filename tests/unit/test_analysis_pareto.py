"""The front: nothing on it is beaten, everything off it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from privlab.analysis.facts import Promise
from privlab.analysis.pareto import best_at, fronts, least_epsilon, on_front
from privlab.analysis.seeds import groups
from tests.madefacts import fact, repeats


def _slow(epsilon, value, better):
    """By the definition, pair by pair."""
    sign = 1 if better == "up" else -1
    known = np.isfinite(epsilon) & np.isfinite(value)

    def beaten(i):
        return any(
            known[j]
            and epsilon[j] <= epsilon[i]
            and sign * value[j] >= sign * value[i]
            and (epsilon[j] < epsilon[i] or sign * value[j] > sign * value[i])
            for j in range(len(epsilon))
        )

    return [bool(known[i]) and not beaten(i) for i in range(len(epsilon))]


@pytest.mark.parametrize("better", ["up", "down"])
@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_nothing_beats(seed, better):
    random = np.random.default_rng(seed)
    # Few different numbers, so that ties of all kinds happen.
    epsilon = random.integers(1, 6, 25).astype(float)
    value = random.integers(0, 6, 25) / 10
    epsilon[random.random(25) < 0.1] = math.inf
    value[random.random(25) < 0.1] = math.nan
    assert on_front(epsilon, value, better).tolist() == _slow(epsilon, value, better)


def test_empty_and_wrong_input():
    assert on_front([], [], "up").tolist() == []
    with pytest.raises(ValueError, match="2 values of ε and 1"):
        on_front([1, 2], [1], "up")
    with pytest.raises(ValueError, match="better=''"):
        on_front([1], [1], "")
    with pytest.raises(ValueError, match="no better direction"):
        fronts([], "grad_norm_p50")
    with pytest.raises(KeyError):
        fronts([], "accuracy")


def runs_of_all_kinds():
    return [
        *repeats("low", [0.80, 0.82], 1.0, settings={"privacy.target_epsilon": 1.0}),
        fact("mid", 0.85, 2.0, settings={"privacy.target_epsilon": 2.0}),
        fact("beaten", 0.79, 2.5, settings={"privacy.target_epsilon": 2.5}),
        fact("high", 0.90, 8.0, settings={"privacy.target_epsilon": 8.0}),
        fact("void", 0.99, 0.1, void=True),
        fact("open", 0.97, math.inf, settings={"training.epochs": 3}),
        fact("early", 0.2, math.nan, settings={"training.epochs": 4}),
    ]


def test_void_runs_are_never_on_it_and_runs_without_guarantee_stand_apart():
    (front,) = fronts(groups(runs_of_all_kinds()))
    assert [each.label for each in front.on] == ["low0 (2 runs)", "mid", "high"]
    assert [each.label for each in front.behind] == ["beaten"]
    assert [each.label for each in front.without] == ["open"]
    low = front.on[0]
    assert low.value == pytest.approx(0.81) and low.low < 0.81 < low.high and math.isnan(front.on[1].low)
    assert front.chosen_among == 5 and "5 results" in front.caution


def test_the_best_of_a_budget_and_the_least_for_a_goal():
    (front,) = fronts(groups(runs_of_all_kinds()))
    assert [best_at(front, e).label for e in (1.0, 1.99, 2.0, 7.9, 8.0)] == [
        "low0 (2 runs)",
        "low0 (2 runs)",
        "mid",
        "mid",
        "high",
    ]
    assert best_at(front, 0.5) is None
    # Without a guarantee only where no budget is named.
    assert best_at(front, 1e6).label == "high" and best_at(front, math.inf).label == "open"
    assert least_epsilon(front, 0.81).label == "low0 (2 runs)"
    assert least_epsilon(front, 0.82).label == "mid" and least_epsilon(front, 0.95) is None
    with pytest.raises(ValueError, match="epsilon=0"):
        best_at(front, 0)


def test_a_metric_that_goes_down():
    runs = [
        fact("a", epsilon=1.0, metrics={"test_loss": 0.9}),
        fact("b", epsilon=2.0, metrics={"test_loss": 0.5}, settings={"training.epochs": 2}),
        fact("c", epsilon=3.0, metrics={"test_loss": 0.7}, settings={"training.epochs": 3}),
    ]
    (front,) = fronts(groups(runs), "test_loss")
    assert [each.label for each in front.on] == ["a", "b"]
    assert best_at(front, 9).label == "b" and least_epsilon(front, 0.6).label == "b"


def test_epsilon_of_different_promises_and_data_is_never_compared():
    other = Promise(1e-6)
    runs = [
        fact("a", 0.9, 1.0),
        fact("b", 0.8, 2.0, promise=other, settings={"privacy.delta": 1e-6}),
        fact("c", 0.7, 3.0, settings={"data.dataset": "adult", "model.name": "logistic"}),
        fact("d", 0.6, 4.0, promise=Promise(1e-4, "replace-one"), settings={"privacy.adjacency": "replace-one"}),
    ]
    found = fronts(groups(runs))
    assert sorted(each.label for front in found for each in front.on) == ["a", "b", "c", "d"]
    assert len({(front.dataset, front.promise) for front in found}) == 4
    assert str(Promise(1e-4, "replace-one", 3)) == "δ = 0.0001, one record replaced, 3 owners"
    assert Promise(1e-4, unit="user") != Promise(1e-4) and str(Promise(1e-4, unit="user")) == "δ = 0.0001, for users"


def test_a_run_on_its_way_does_not_pull_its_group_down():
    (front,) = fronts(groups([*repeats("a", [0.9, 0.9]), fact("now", 0.2, 0.5, step=1, settings={"training.seed": 8})]))
    assert front.on[0].value == pytest.approx(0.9) and front.on[0].n == 2
