"""Importance: what decided comes first, what did not comes last, and too little is refused."""

from __future__ import annotations

import numpy as np
import pytest

from privlab.analysis.importance import importances, varying
from tests.madefacts import fact


def made(count: int, law=None, seed: int = 0):
    """Runs whose accuracy follows the learning rate most and the optimiser less; C and the batch do nothing."""
    random, found = np.random.default_rng(seed), []
    for place in range(count):
        rate, bound = float(random.choice([0.05, 0.1, 0.2, 0.4])), float(random.choice([0.1, 0.5, 1.0]))
        optimizer, batch = str(random.choice(["sgd", "adam"])), int(random.choice([64, 128]))
        value = 0.8 + 0.1 * np.log(rate) / 3 - 0.03 * (optimizer == "adam") + random.normal(0, 0.003)
        settings = {
            "training.learning_rate": rate,
            "privacy.max_grad_norm": bound,
            "training.optimizer": optimizer,
            "training.batch_size": batch,
            "training.seed": place,
        }
        value = law(random) if law else float(value)
        found.append(fact(f"r{place}", value, settings=settings, noise_multiplier=2.0))
    return found


RUNS = made(60)


def test_settings_come_in_the_order_in_which_they_decided():
    found = importances(RUNS)
    paths = [each.path for each in found.settings]
    assert paths[:2] == ["training.learning_rate", "training.optimizer"] and len(paths) == 4
    assert found.settings[0].value > 3 * found.settings[1].value > 0
    assert all(abs(each.value) < 0.05 for each in found.settings[2:])
    assert found.r2 > 0.8 and found.settings[0].values == 4 and not found.refusal
    assert found.settings[0].label == "Learning rate η"


def test_the_same_runs_give_the_same_answer_in_any_order():
    assert importances(RUNS) == importances(RUNS[::-1])


def test_epsilon_is_decided_by_what_spends_it():
    runs = [
        fact(f"e{place}", 0.9, 0.5 * epochs / sigma**1.5, noise_multiplier=sigma, settings={
            "privacy.noise_multiplier": sigma, "training.epochs": epochs, "training.learning_rate": rate})
        for place, (sigma, epochs, rate) in enumerate(
            (s, e, r) for s in (0.7, 1.0, 1.5, 2.0) for e in (5, 10, 20) for r in (0.1, 0.2)
        )
    ]  # fmt: skip
    found = importances(runs, "epsilon")
    assert {found.settings[0].path, found.settings[1].path} == {"privacy.noise_multiplier", "training.epochs"}
    assert abs(found.settings[2].value) < 0.05


def test_noise_decides_nothing_and_says_so():
    found = importances(made(40, law=lambda random: float(random.normal(0.8, 0.01))))
    assert not found.settings and "do not predict" in found.refusal and found.r2 <= 0


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([], "No run has this number"),
        (RUNS[:8], "too few to tell 4 settings"),
        ([fact("a"), fact("b", settings={"training.seed": 1})], "same settings, seeds apart"),
        ([fact(f"x{i}", 0.9, settings={"training.learning_rate": (i + 1) / 100}) for i in range(20)], "same value"),
        ([*RUNS, fact("o", settings={"data.dataset": "adult", "model.name": "logistic"})], "different data sets"),
    ],
    ids=["none", "few", "alike", "constant", "data"],
)
def test_too_little_is_refused_in_plain_words(runs, words):
    found = importances(runs)
    assert words in found.refusal and not found.settings


def test_repeats_of_one_setting_are_no_more_settings():
    few = [fact(f"{i}-{s}", 0.8 + i / 100, settings={"training.learning_rate": (i + 1) / 10, "training.seed": s})
           for i in range(4) for s in range(20)]  # fmt: skip
    assert "4 different settings are too few" in importances(few).refusal


def test_settings_that_moved_together_cannot_be_told_apart():
    runs = [
        fact(f"t{i}", 0.5 + 0.02 * i, settings={"training.learning_rate": (i + 1) / 50, "privacy.max_grad_norm": (i + 1) / 10})
        for i in range(16)
    ]  # fmt: skip
    found = importances(runs)
    assert any("moved together" in caution and "Learning rate" in caution for caution in found.cautions)


def test_a_setting_that_only_some_runs_use_does_not_vary_by_that():
    assert "training.momentum" not in varying(RUNS)
    assert "privacy.noise_multiplier" not in varying(RUNS)


def test_void_runs_teach_nothing():
    broken = [fact(f"v{i}", 0.0, void=True, settings={"training.learning_rate": 0.4}) for i in range(30)]
    assert importances([*RUNS, *broken]) == importances(RUNS)
    with pytest.raises(KeyError):
        importances(RUNS, "accuracy")
