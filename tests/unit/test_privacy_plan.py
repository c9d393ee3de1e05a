"""From settings to a plan: steps, refusals, round trip, extension."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest

from privlab.config import PRESETS, ConfigError, RunConfig
from privlab.privacy import PrivacyPlan, logged_steps, make_plan, steps_for

RECORDS = 1437


def config_of(**settings) -> RunConfig:
    base = RunConfig.from_dict({"privacy": {"noise_multiplier": 2.0, "delta": 1e-4}})
    return base.replace(**settings)


def refused(records: int = RECORDS, **settings) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        make_plan(config_of(**settings), records)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_plan_of_given_noise():
    plan = make_plan(config_of(training__batch_size=256, training__epochs=30, privacy__max_grad_norm=0.5), RECORDS)
    assert plan == PrivacyPlan(RECORDS, 256, 168, 2.0, 0.5, 1e-4, "pld", "add-or-remove-one", None)
    assert plan.sample_rate == 256 / 1437
    assert plan.is_private


def test_plan_of_a_target():
    plan = make_plan(config_of(privacy__target_epsilon=3.0), RECORDS)
    assert plan.target_epsilon == 3.0
    assert 2.99 < plan.epsilon <= 3.0


def test_plan_without_privacy_takes_any_delta():
    clip_only = make_plan(config_of(privacy__noise_multiplier=0.0, privacy__delta=0.5), RECORDS)
    neither = make_plan(config_of(privacy__noise_multiplier=0.0, privacy__clipping="none"), RECORDS)
    assert (clip_only.max_grad_norm, clip_only.is_private) == (1.0, False)
    assert (neither.max_grad_norm, neither.is_private) == (None, False)


def test_full_batch_is_allowed():
    assert make_plan(config_of(training__batch_size=RECORDS), RECORDS).sample_rate == 1.0


@pytest.mark.parametrize("key", PRESETS)
def test_presets_have_plans(key):
    config = PRESETS[key].config
    plan = make_plan(config, 1437 if config.data.dataset == "digits" else 60_000)
    assert plan.is_private == config.privacy.is_private


@pytest.mark.parametrize(
    ("epochs", "records", "batch_size", "steps"),
    [(30, 1437, 256, 168), (27, 60_000, 4096, 396), (1, 10, 4, 3), (1, 100, 100, 1), (3, 1000, 250, 12), (1, 7, 5, 1)],
)
def test_steps_are_the_nearest_whole_number(epochs, records, batch_size, steps):
    assert steps_for(epochs, records, batch_size) == steps


@pytest.mark.parametrize(
    ("steps", "points"), [(1, 60), (2, 2), (5, 60), (60, 60), (61, 60), (168, 60), (10_000, 2), (7, 1)]
)
def test_logged_steps_hold_both_ends(steps, points):
    logged = logged_steps(steps, points)
    assert logged[0] == 1 and logged[-1] == steps
    assert list(logged) == sorted(set(logged))
    assert len(logged) == min(max(points, 2), steps)
    gaps = [after - before for before, after in pairwise(logged)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_batch_larger_than_the_data():
    assert refused(training__batch_size=5000) == {
        "training.batch_size": "batch_size=5,000 is more than the 1,437 training records."
    }


@pytest.mark.parametrize("delta", [0.01, 1 / 1437])
def test_delta_that_lets_a_record_through(delta):
    message = refused(privacy__delta=delta)["privacy.delta"]
    assert f"delta={delta:g}" in message and "1 / 1,437 records = 6.96e-04" in message


def test_delta_just_below_the_bound():
    assert make_plan(config_of(privacy__delta=0.99 / RECORDS), RECORDS).is_private


def test_delta_too_small_to_reckon():
    assert "delta=1e-20 is below 1e-10" in refused(privacy__delta=1e-20)["privacy.delta"]


def test_every_problem_is_told():
    found = refused(training__batch_size=5000, privacy__delta=0.5, privacy__noise_multiplier=0.01)
    assert set(found) == {"training.batch_size", "privacy.delta", "privacy.noise_multiplier"}


def test_target_that_no_noise_reaches():
    message = refused(privacy__target_epsilon=1e-6)["privacy.target_epsilon"]
    assert "target_epsilon=1e-06" in message and "noise_multiplier=1000 spends ε=" in message


def test_target_that_hardly_any_noise_meets():
    one_full_batch = {"training__batch_size": RECORDS, "training__epochs": 1}
    message = refused(privacy__target_epsilon=1000.0, **one_full_batch)["privacy.target_epsilon"]
    assert "target_epsilon=1000" in message and "noise_multiplier=0.05" in message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"privacy__noise_multiplier": 1e-300}, ("noise_multiplier=1e-300", "0.05 … 1000")),
        (
            {"privacy__noise_multiplier": 0.06, "training__epochs": 10_000},
            ("noise_multiplier=0.06", "56,133", "ε=1,000"),
        ),
        (
            {"privacy__noise_multiplier": 0.05, "training__epochs": 10_000, "training__batch_size": 1},
            ("noise_multiplier=0.05", "14,370,000"),
        ),
        ({"privacy__noise_multiplier": 0.2, "training__epochs": 300}, ("noise_multiplier=0.2", "spends ε=")),
    ],
)
def test_absurd_noise_is_refused_quickly(settings, words):
    began = time.perf_counter()
    message = refused(**settings)["privacy.noise_multiplier"]
    assert time.perf_counter() - began < 3
    assert all(word in message for word in words)


def test_no_records():
    with pytest.raises(ValueError, match="records=0"):
        make_plan(config_of(), 0)


@pytest.mark.parametrize("target", [None, 1 / 3])
def test_json_round_trip_is_exact(target):
    plan = PrivacyPlan(60_000, 4096, 396, 2.0821, None if target is None else 0.1, 1e-5, target_epsilon=target)
    raw = json.loads(json.dumps(plan.to_dict()))
    assert raw["sample_rate"] == 4096 / 60_000
    assert PrivacyPlan.from_dict(raw) == plan


@pytest.mark.parametrize("change", [{"steps": None}, {"sigma": 1.0}])
def test_a_foreign_plan_is_refused(change):
    raw = PrivacyPlan(100, 10, 50, 1.0, 1.0, 1e-5).to_dict()
    raw = {key: value for key, value in {**raw, **change}.items() if value is not None or key == "target_epsilon"}
    with pytest.raises(ValueError, match=next(iter(change))):
        PrivacyPlan.from_dict(raw)
