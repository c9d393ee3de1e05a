"""Repeats: which runs are, and what they say together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from privlab.analysis.facts import Facts
from privlab.analysis.seeds import Group, at_epsilon, band, groups, summarise, within
from privlab.config import load_preset
from privlab.preflight import preflight
from privlab.runs.record import Run, Status
from tests.madefacts import DIGITS, fact, repeats


@pytest.mark.parametrize(
    "settings",
    [
        {"training.seed": 7},
        {"name": "another"},
        {"training.curve_points": 9},
        {"performance.device": "cpu"},
        {"performance.gradient_method": "hooks"},
        {"performance.physical_batch_size": 64},
        {"encryption.mode": "sealed"},
        # Other choices leave these nothing to say.
        {"privacy.automatic_stability": 0.5},
        {"data.secret_repeats": 3},
        {"model.lora_rank": 4},
        {"privacy.clip_schedule_end": 0.1},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_does_not_change_the_outcome_makes_no_other_group(settings):
    assert len(groups([fact("a"), fact("b", settings=settings)])) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"training.learning_rate": 0.1},
        {"training.epochs": 9},
        {"training.momentum": 0.5},
        {"privacy.target_epsilon": 2.0},
        {"privacy.delta": 1e-5},
        {"privacy.adjacency": "replace-one"},
        {"privacy.randomness": "reproducible"},
        {"model.name": "logistic"},
        {"performance.precision": "bfloat16"},
        {"encryption.mode": "ckks"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_changes_the_outcome_or_the_promise_does(settings):
    assert len(groups([fact("a"), fact("b", settings=settings)])) == 2


def test_void_runs_publications_and_imports_are_no_repeats():
    found = groups(
        [
            fact("a"),
            fact("b", void=True),
            fact("c", provenance="reference"),
            fact("d", provenance="reference"),
            fact("e", provenance="imported"),
            fact("f", settings={"training.seed": 3}),
        ]
    )
    assert [[run.id for run in group.runs] for group in found] == [["a", "f"], ["c"], ["d"], ["e"]]


def test_facts_of_a_stored_run_claim_no_more_than_the_run():
    def of(preset: str, **settings) -> Facts:
        config = load_preset(preset).replace(**settings)
        plan = preflight(config).plan
        epsilon = 1.5 if plan.is_private else None
        run = Run("x", "n", Status.FINISHED, config, plan, 1.0, step=5, steps=plan.steps, epsilon=epsilon)
        return Facts.of(run)

    assert of("digits").epsilon == 1.5 and of("digits").has_guarantee
    assert of("digits").noise_multiplier > 0 and of("digits").setting("privacy.noise_multiplier") > 0
    assert math.isinf(of("no-privacy").epsilon) and not of("no-privacy").has_guarantee
    # Whoever knows the seed can subtract the noise.
    assert math.isinf(of("digits", privacy__randomness="reproducible").epsilon)
    config = load_preset("digits")
    plan = preflight(config).plan
    broken = Facts.of(Run("x", "", Status.FAILED, config, plan, 1.0, step=5, steps=plan.steps, epsilon=1.5), void=True)
    assert not broken.has_guarantee and math.isinf(broken.epsilon)
    assert math.isnan(Facts.of(Run("x", "", Status.QUEUED, config, plan, 1.0)).epsilon)


def test_the_interval_of_a_mean_is_students():
    values = [0.81, 0.84, 0.83, 0.86]
    found = summarise(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.n, found.mean) == (4, pytest.approx(0.835))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    one = summarise([0.8, math.nan])
    assert one.n == 1 and one.mean == 0.8 and math.isnan(one.low) and math.isnan(one.sd)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = sum(
        found.low <= 0.8 <= found.high for found in (summarise(random.normal(0.8, 0.01, 4)) for _ in range(2000))
    )
    assert abs(held / 2000 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


def test_values_between_points_are_interpolated_and_none_are_made_up():
    run = fact("a", 0.9, 2.0, curve=[(0.5, 0.6), (1.0, 0.8), (1.0, 0.82), (2.0, 0.9)])
    assert at_epsilon(run, "test_accuracy", [0.75, 1.0, 1.5]) == pytest.approx([0.71, 0.82, 0.86], abs=0.011)
    assert np.isnan(at_epsilon(run, "test_accuracy", [0.4, 2.1, math.inf])).all()
    # σ found for a target ends a little below it.
    assert float(at_epsilon(run, "test_accuracy", 2.005)) == 0.9
    bare = fact("b", 0.7, 2.0)
    assert float(at_epsilon(bare, "test_accuracy", 2.0)) == 0.7
    assert math.isnan(float(at_epsilon(bare, "test_accuracy", 1.5)))
    no_guarantee = fact("c", 0.97, math.inf)
    assert float(at_epsilon(no_guarantee, "test_accuracy", math.inf)) == 0.97
    assert math.isnan(float(at_epsilon(no_guarantee, "test_accuracy", 3.0)))
    assert math.isnan(float(at_epsilon(fact("d", void=True), "test_accuracy", 3.0)))


def test_a_band_is_where_all_curves_are_and_its_mean_is_theirs():
    runs = [
        fact("a", 0.9, 4.0, curve=[(0.5, 0.5), (4.0, 0.9)]),
        fact("b", 0.8, 2.0, curve=[(1.0, 0.6), (2.0, 0.8)], settings={"training.seed": 1}),
    ]
    found = band(Group(tuple(runs)), "test_accuracy", points=11)
    assert (found.epsilon[0], found.epsilon[-1]) == (1.0, 2.0) and (found.n == 2).all()
    assert found.mean[0] == pytest.approx((0.5 + 0.5 * 0.4 / 3.5 + 0.6) / 2)
    assert found.mean[-1] == pytest.approx((0.5 + 1.5 * 0.4 / 3.5 + 0.8) / 2)
    here = summarise([float(at_epsilon(run, "test_accuracy", found.epsilon[3])) for run in runs])
    assert (found.low[3], found.high[3], found.sd[3]) == pytest.approx((here.low, min(1.0, here.high), here.sd))
    wide = band(Group(tuple(runs)), "test_accuracy", least=1, points=50)
    assert (wide.epsilon[0], wide.epsilon[-1]) == (0.5, 4.0)
    assert wide.n.min() == 1 and wide.n.max() == 2 and np.isnan(wide.low[wide.n == 1]).all()
    apart = [runs[0], fact("c", curve=[(5.0, 0.1), (6.0, 0.2)])]
    assert not len(band(Group(tuple(apart)), "test_accuracy").epsilon)


@pytest.mark.parametrize(
    ("about", "named"),
    [({"least": 0}, "least=0"), ({"least": 3}, "least=3"), ({"points": 1}, "points=1"), ({"confidence": 1.0}, "confidence=1")],
    ids=["least-0", "least-3", "points-1", "confidence-1"],
)  # fmt: skip
def test_numbers_out_of_range_are_named(about, named):
    with pytest.raises(ValueError, match=named):
        band(Group((fact("a"), fact("b"))), "test_accuracy", **about)
    with pytest.raises(KeyError):
        band(Group((fact("a"),)), "accuracy")


def test_only_runs_that_went_as_far_are_repeats_of_an_ended_one():
    (group,) = groups([*repeats("a", [0.9, 0.91]), fact("early", 0.3, 0.5, step=2, settings={"training.seed": 9})])
    assert [run.id for run in group.farthest.runs] == ["a0", "a1"]
    assert group.label == "a0 (3 runs)" and group.epsilon == 3.0 and DIGITS.name == "digits"


def test_the_interval_of_a_share_ends_where_shares_do() -> None:
    low, high = within("test_accuracy", [-0.2, 0.3], [0.4, 1.3])
    assert low.tolist() == [0.0, 0.3] and high.tolist() == [0.4, 1.0]
    low, high = within("test_loss", -0.2, 1.3)
    assert (float(low), float(high)) == (-0.2, 1.3)


def test_repeats_of_a_sweep_are_named_without_their_seeds():
    runs = [fact(f"r{seed}", name=f"mine: C = 1, seed {seed}", settings={"training.seed": seed}) for seed in (0, 11)]
    (both,) = groups(runs)
    assert both.name == "mine: C = 1" and both.label == "mine: C = 1 (2 runs)"
    assert Group((runs[1],)).label == "mine: C = 1, seed 11"
