"""Privacy taken apart: five trainings that differ by one change each, and what the changes cost."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from privlab.analysis.decomposition import STEPS, breakdown, decompose, in_words
from privlab.analysis.facts import Facts
from privlab.analysis.settings import differing, values_of
from privlab.config import ConfigError, load_preset
from privlab.preflight import preflight
from tests.madefacts import fact

APART = decompose(load_preset("digits"), {"plain": 0.05, "architecture": 0.1, "sampling": 0.1})


def test_neighbours_differ_by_the_change_that_they_are_named_after():
    assert tuple(APART.configs) == tuple(STEPS)
    changes = [set(differing([a, b])) for a, b in pairwise(APART.configs.values())]
    assert changes == [
        {"model.name", "training.learning_rate"},
        {"privacy.sampling"},
        {"privacy.clipping", "training.learning_rate"},
        {"privacy.noise_multiplier", "privacy.target_epsilon"},
    ]
    assert APART.configs["noise"].privacy == load_preset("digits").privacy
    assert [config.training.learning_rate for config in APART.configs.values()] == [0.05, 0.1, 0.1, 0.2, 0.2]
    assert APART.configs["plain"].model.name == "mlp-relu"


def test_only_the_last_one_claims_anything():
    plans = {step: preflight(config).plan for step, config in APART.configs.items()}
    assert [step for step, plan in plans.items() if plan.is_private] == ["noise"]
    assert [step for step, plan in plans.items() if plan.shuffled] == ["plain", "architecture"]
    assert [plan.max_grad_norm for plan in plans.values()] == [None, None, None, 0.2, 0.2]


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("encrypted", {}),
        ("fashion-mnist", {}),
        ("fashion-mnist-cnn", {"privacy__noise_schedule": "linear", "privacy__clip_schedule": "linear"}),
        ("digits", {"privacy__bands": 2}),
        ("digits", {"privacy__protection": "rounded"}),
        ("digits", {"privacy__clipping": "automatic", "privacy__epsilon_limit": 1.0}),
        ("fashion-mnist-cnn", {"training__augmentations": 4}),
    ],
)
def test_whatever_a_private_training_is_made_of_can_be_taken_off(preset, settings):
    apart = decompose(load_preset(preset).replace(**settings))
    assert tuple(apart.configs) == tuple(STEPS) and apart.notes
    for step, config in apart.configs.items():
        assert apart.step_of(Facts("x", settings=values_of(config.replace(training__seed=8, name="y")))) == step


def test_without_a_usual_network_there_are_four_and_the_reason():
    apart = decompose(load_preset("spam-bert"))
    assert tuple(apart.configs) == tuple(STEPS)[1:] and any("no counterpart" in note for note in apart.notes)
    resnet = load_preset("fashion-mnist-cnn").replace(model__name="resnet-gn")
    assert any("BatchNorm" in note and "training/" in note for note in decompose(resnet).notes)


@pytest.mark.parametrize(
    ("preset", "settings", "words"),
    [
        ("no-privacy", {}, "nothing to take apart"),
        ("clip-only", {}, "nothing to take apart"),
        ("digits", {"privacy__clipping": "adaptive", "privacy__quantile_noise": 1.0}, "choose flat"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(preset, settings, words):
    with pytest.raises(ConfigError, match=words):
        decompose(load_preset(preset).replace(**settings))


def test_an_unknown_training_has_no_learning_rate():
    with pytest.raises(ConfigError, match="'clip' is no training; choose one of plain"):
        decompose(load_preset("digits"), {"clip": 0.1})
    assert "rates of their own" in decompose(load_preset("digits")).notes[0]


def test_seeds_are_launched_whole():
    launches = APART.launches(2)
    assert [(step, config.training.seed) for step, config in launches] == [(s, seed) for seed in (0, 1) for s in STEPS]
    with pytest.raises(ValueError, match="seeds=0"):
        APART.launches(0)


LEVELS = {"plain": 0.95, "architecture": 0.94, "sampling": 0.942, "clipping": 0.90, "noise": 0.85}
CHANCE = {"plain": 0.01, "architecture": 0.012, "sampling": 0.006, "clipping": 0.011, "noise": 0.009}


def finished(seeds: int = 3) -> list[Facts]:
    return [
        fact(f"{step}{seed}", LEVELS[step] + (seed - 1) * CHANCE[step], 2.99 if step == "noise" else math.inf, config=config)
        for seed in range(seeds)
        for step, config in ((s, c.replace(training__seed=seed)) for s, c in APART.configs.items())
    ]  # fmt: skip


def test_costs_are_the_differences_of_neighbours_with_their_spread():
    found = breakdown(APART, finished())
    assert {step: level.mean for step, level in found.levels.items()} == pytest.approx(LEVELS)
    assert [cost.label for cost in found.costs] == list(STEPS.values())[1:]
    assert [cost.difference.effect for cost in found.costs] == pytest.approx([-0.01, 0.002, -0.042, -0.05])
    assert sum(cost.difference.effect for cost in found.costs) == pytest.approx(found.total.effect)
    # Pairs by seed: the spread of differences 0.010 and 0.012 apart is a fifth of the levels' own.
    first = found.costs[0].difference
    assert first.test == "paired t" and first.spread == pytest.approx(0.002) and first.high < 0
    assert found.epsilon == 2.99 and not found.missing
    assert "clipping costs +4.20 points" in " ".join(in_words(found))


def test_one_run_each_has_costs_and_no_interval():
    found = breakdown(APART, finished(1))
    assert [cost.difference.effect for cost in found.costs] != [] and math.isnan(found.costs[0].difference.low)
    assert "(one run)" in in_words(found)[0]


def test_what_is_missing_void_or_unfinished_is_not_measured():
    runs = [run for run in finished() if not run.id.startswith("sampling")]
    runs += [fact("v", 0.1, math.inf, config=APART.configs["sampling"], void=True)]
    runs += [fact("u", 0.1, math.inf, config=APART.configs["sampling"], status="stopped")]
    found = breakdown(APART, runs)
    assert found.missing == ("sampling",) and found.costs[1].label == "Poisson batches + clipping"
    assert found.costs[1].difference.effect == pytest.approx(-0.04)
    assert (
        breakdown(APART, []).total is None
        and breakdown(APART, [fact("other", settings={"training.epochs": 3})]).levels == {}
    )
