"""From settings to a plan: steps, refusals, round trip, extension."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest

from privlab.config import PRESETS, ConfigError, RunConfig
from privlab.data.catalogue import DATASETS
from privlab.privacy import PrivacyPlan, logged_steps, make_plan, steps_for
from privlab.privacy.phases import Phase, total_steps
from privlab.privacy.plan import AdaptiveClip

RECORDS = 1437


def config_of(**settings) -> RunConfig:
    base = RunConfig.from_dict({"privacy": {"noise_multiplier": 2.0, "delta": 1e-4}})
    return base.replace(**settings)


def refused(records: int = RECORDS, **settings) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        make_plan(config_of(**settings), records, 4810)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_plan_of_given_noise():
    plan = make_plan(config_of(training__batch_size=256, training__epochs=30, privacy__max_grad_norm=0.5), RECORDS)
    assert plan == PrivacyPlan(RECORDS, 256, 168, 2.0, 0.5, 1e-4, "pld", "add-or-remove-one", None, planned_steps=168)
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
    plan = make_plan(config, DATASETS[config.data.dataset].train_records)
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


def test_a_stored_plan_of_fewer_parts_has_the_defaults():
    old = {
        "records": 100, "batch_size": 10, "steps": 50, "noise_multiplier": 1.0, "max_grad_norm": 1.0, "delta": 1e-5,
        "accountant": "pld", "adjacency": "add-or-remove-one", "target_epsilon": None, "sample_rate": 0.1,
    }  # fmt: skip
    assert PrivacyPlan.from_dict(old) == PrivacyPlan(100, 10, 50, 1.0, 1.0, 1e-5)


RICH = {
    "privacy__noise_schedule": "linear",
    "privacy__clip_schedule": "custom",
    "privacy__clip_schedule_custom": "1:1, 20:0.5",
    "privacy__epsilon_limit": 1.5,
    "privacy__protection": "rounded",
}


@pytest.mark.parametrize("settings", [RICH, {"privacy__clipping": "adaptive"}, {"privacy__bands": 4}])
def test_every_part_survives_json(settings):
    plan = make_plan(config_of(**settings), RECORDS, 4810)
    assert PrivacyPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_noise_schedule_is_what_is_accounted():
    settings = {"privacy__noise_schedule": "step", "privacy__noise_schedule_end": 0.5, "privacy__schedule_stairs": 2}
    plan = make_plan(config_of(**settings, training__epochs=30), RECORDS)
    rate = plan.sample_rate
    assert plan.phases == (Phase(rate, 2.0, 84), Phase(rate, 1.0, 84))
    assert plan.phases_until(100) == (Phase(rate, 2.0, 84), Phase(rate, 1.0, 16))
    assert [plan.noise_multiplier_at(step) for step in (1, 84, 85, 168)] == [2, 2, 1, 1]


def test_each_step_is_accounted_with_the_noise_it_has():
    plan = make_plan(config_of(privacy__noise_schedule="exponential", training__epochs=20), RECORDS)
    told = [phase.noise_multiplier for phase in plan.phases for _ in range(phase.steps)]
    assert told == [plan.noise_multiplier_at(step) for step in range(1, plan.steps + 1)]


def test_a_target_is_met_by_the_whole_schedule():
    plan = make_plan(config_of(privacy__target_epsilon=3.0, privacy__noise_schedule="linear"), RECORDS)
    assert 2.99 < plan.epsilon <= 3.0


@pytest.mark.parametrize(
    ("adjacency", "accountant"), [("add-or-remove-one", "pld"), ("replace-one", "pld"), ("add-or-remove-one", "rdp")]
)
def test_a_target_is_met_under_every_accountant(adjacency, accountant):
    settings = {"privacy__adjacency": adjacency, "privacy__accountant": accountant, "privacy__target_epsilon": 3.0}
    plan = make_plan(config_of(**settings), RECORDS)
    assert 2.98 < plan.epsilon <= 3.0


def test_bands_count_fewer_steps_at_a_higher_rate():
    plan = make_plan(config_of(privacy__bands=4, training__epochs=30), RECORDS)
    assert plan.phases == (Phase(4 * 256 / RECORDS, 2.0, 42),)
    assert total_steps(plan.phases_until(5)) == 2
    assert "bands=6 is more than 5" in refused(privacy__bands=6)["privacy.bands"]


def test_adaptive_clipping_pays_for_its_count():
    plan = make_plan(config_of(privacy__clipping="adaptive"), RECORDS)
    assert plan.adaptive == AdaptiveClip(0.5, 0.2, 0.05 * 256)
    gradients = plan.gradient_noise_at(1)
    assert gradients**-2 + (2 * 12.8) ** -2 == pytest.approx(2.0**-2)
    assert plan.phases[0].noise_multiplier == 2.0
    message = refused(privacy__clipping="adaptive", privacy__quantile_noise=0.003)["privacy.quantile_noise"]
    assert "spends the whole budget" in message


def test_a_limit_ends_the_run_before_it_is_passed():
    plan = make_plan(config_of(privacy__epsilon_limit=1.5), RECORDS)
    assert 0 < plan.steps < plan.planned_steps
    longer = PrivacyPlan.from_dict({**plan.to_dict(), "steps": plan.steps + 1})
    assert plan.epsilon <= 1.5 < longer.epsilon
    assert "epsilon_limit=0.01" in refused(privacy__epsilon_limit=0.01)["privacy.epsilon_limit"]
    assert make_plan(config_of(privacy__epsilon_limit=900.0), RECORDS).steps == plan.planned_steps


def test_schedules_that_leave_what_can_be_reckoned():
    settings = {"privacy__noise_schedule": "linear", "privacy__noise_schedule_end": 0.001}
    assert "from 0.002 to 2" in refused(**settings)["privacy.noise_schedule_end"]


def test_rounding_is_accounted():
    plain = make_plan(config_of(), RECORDS)
    rounded = make_plan(config_of(privacy__protection="rounded"), RECORDS, 4810)
    assert rounded.phases[0].noise_multiplier < plain.noise_multiplier
    assert plain.epsilon < rounded.epsilon < plain.epsilon + 1e-3
    target = make_plan(config_of(privacy__protection="rounded", privacy__target_epsilon=3.0), RECORDS, 4810)
    assert 2.99 < target.epsilon <= 3.0
    assert (
        "counts as"
        in refused(privacy__protection="rounded", privacy__noise_multiplier=0.05, training__epochs=1)[
            "privacy.noise_multiplier"
        ]
    )
