"""The search space: counts, values, and every way to say nonsense, with the value and the bound."""

from __future__ import annotations

import math

import pytest

from privlab.config import ConfigError
from privlab.sweeps.axis import VARIED, read_axis
from privlab.sweeps.spec import MOST_RUNS, SweepSpec
from tests.sweeping import BASE, GRID, spec


def problems(**changes) -> dict[str, str]:
    with pytest.raises(ConfigError) as refused:
        spec(**changes)
    return {problem.path: problem.message for problem in refused.value.problems}


def test_every_declared_setting_but_the_seed_can_be_varied() -> None:
    assert {"data.dataset", "privacy.max_grad_norm", "training.learning_rate", "performance.device"} <= VARIED.keys()
    assert "training.seed" not in VARIED and "name" not in VARIED


@pytest.mark.parametrize(
    "raw, points",
    [
        pytest.param([0.2, 1], (0.2, 1.0), id="list"),
        pytest.param({"low": 0.1, "high": 0.5, "step": 0.1}, (0.1, 0.2, 0.3, 0.4, 0.5), id="step"),
        pytest.param({"low": 0.1, "high": 0.55, "step": 0.2}, (0.1, 0.3, 0.5), id="step that does not end at high"),
        pytest.param({"low": 0.01, "high": 100, "log": True, "count": 5}, (0.01, 0.1, 1, 10, 100), id="log count"),
        pytest.param({"low": 1, "high": 3, "count": 3}, (1, 2, 3), id="linear count"),
        pytest.param({"low": 1, "high": 3}, None, id="any value between"),
    ],
)
def test_points_of_an_axis(raw, points) -> None:
    axis = read_axis("privacy.max_grad_norm", raw)
    assert axis.points == points
    assert read_axis(axis.path, axis.to_raw()) == axis


def test_whole_numbers_stay_whole() -> None:
    axis = read_axis("training.batch_size", {"low": 10, "high": 1000, "log": True, "count": 4})
    assert axis.points == (10, 46, 215, 1000)
    assert all(type(value) is int for value in axis.points)
    free = read_axis("training.epochs", {"low": 2, "high": 4})
    assert {free.at(share / 100) for share in range(100)} == {2, 3, 4}


def test_draws_cover_the_range_and_stay_in_it() -> None:
    axis = read_axis("training.learning_rate", {"low": 0.01, "high": 1.0, "log": True})
    values = [axis.at(share / 1000) for share in range(1000)]
    assert min(values) == 0.01 and max(values) < 1.0
    # Even in the logarithm: as many below 0.1 as above.
    assert sum(value < 0.1 for value in values) == pytest.approx(500, abs=2)


REFUSED = {
    "unknown setting": ({"privacy.max_gard_norm": [1]}, "privacy.max_gard_norm", "privacy.max_grad_norm"),
    "seed": ({"training.seed": [1, 2]}, "training.seed", "seeds = 3"),
    "no value": ({"training.epochs": []}, "training.epochs", "no run at all"),
    "twice": ({"training.epochs": [1, 1]}, "training.epochs", "twice"),
    "below the bound": ({"privacy.max_grad_norm": [0, 1]}, "privacy.max_grad_norm", "more than 0 and at most 1,000"),
    "above the bound": ({"training.momentum": [1.0]}, "training.momentum", "less than 1"),
    "not whole": ({"training.epochs": [1.5]}, "training.epochs", "whole number"),
    "not a number": ({"training.epochs": ["many"]}, "training.epochs", "it is a number"),
    "true": ({"training.epochs": [True]}, "training.epochs", "it is a number"),
    "unknown word": ({"training.optimizer": ["sgd", "lion"]}, "training.optimizer", "none of sgd, adam"),
    "unknown data set": ({"data.dataset": ["digitz"]}, "data.dataset", "none of"),
    "range of words": ({"training.optimizer": {"low": 1, "high": 2}}, "training.optimizer", "list of values"),
    "empty range": ({"training.epochs": {"low": 5, "high": 5}}, "training.epochs", "low=5 must be below high=5"),
    "half a range": ({"training.epochs": {"low": 5}}, "training.epochs", "high is missing"),
    "log from 0": ({"training.momentum": {"low": 0, "high": 0.9, "log": True}}, "training.momentum", "above 0"),
    "step too long": ({"training.epochs": {"low": 1, "high": 5, "step": 9}}, "training.epochs", "at most 4"),
    "step and count": ({"training.epochs": {"low": 1, "high": 5, "step": 1, "count": 2}}, "training.epochs", "one of"),
    "count of one": ({"training.epochs": {"low": 1, "high": 5, "count": 1}}, "training.epochs", "from 2 to"),
    "both noises": (
        {"privacy.noise_multiplier": [1.0], "privacy.target_epsilon": [3.0]},
        "privacy.target_epsilon",
        "vary one of them",
    ),
    "batch above N": ({"training.batch_size": [64, 5000]}, "training.batch_size", "at most N=1,442"),
    "no effect": ({"privacy.target_quantile": [0.3, 0.5]}, "privacy.target_quantile", "no effect with privacy.clipping=flat"),
    "nothing varied": ({}, "", "no setting is varied"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_contradiction_is_said_beside_its_entry(case: str) -> None:
    space, path, words = REFUSED[case]
    found = problems(space=space)
    where = f"space.{path}" if path else "space"
    assert words in found[where], found


def test_all_problems_at_once() -> None:
    found = problems(space={"training.epochs": [0], "privacy.max_grad_norm": []}, seeds=0, method="gird")
    assert {"space.training.epochs", "space.privacy.max_grad_norm", "seeds", "method"} == found.keys()


def test_too_many_runs_are_refused_with_the_limit() -> None:
    values = [round(0.1 * place, 1) for place in range(1, 101)]
    found = problems(space={"privacy.max_grad_norm": values}, seeds=11)
    assert found == {"seeds": f"100 combinations with 11 seeds are 1,100 runs: at most {MOST_RUNS:,} in one sweep."}
    wide = {"privacy.max_grad_norm": values, "training.learning_rate": values, "privacy.noise_multiplier": values[:10]}
    assert f"100,000 runs: at most {MOST_RUNS:,}" in problems(space=wide)["space"]


def test_a_grid_needs_an_end_and_other_searches_do_not() -> None:
    free = {"training.learning_rate": {"low": 0.1, "high": 1.0}}
    assert "step or a count" in problems(space=free)["space.training.learning_rate"]
    assert spec(space=free, method="random", trials=7).most_runs == 7


def test_the_grid_is_counted_and_gone_through_in_order() -> None:
    made = spec(seeds=3)
    assert (made.space.size, made.most_trials, made.most_runs) == (4, 4, 12)
    combinations = list(made.candidates())
    assert combinations == [made.space.combination(number) for number in range(4)]
    assert [tuple(each.values()) for each in combinations] == [(0.2, 2.0), (0.2, 6.0), (1.0, 2.0), (1.0, 6.0)]


def test_a_candidate_is_the_base_with_its_values_and_seed() -> None:
    made = spec(space={"privacy.target_epsilon": [3.0]}, seeds=2)
    config = made.candidate({"privacy.target_epsilon": 3.0}, seed=1)
    assert config.replace(name="") == BASE.replace(privacy__target_epsilon=3.0, training__seed=1, name="")
    assert "ε = 3" in config.name and "seed 1" in config.name


def test_toml_round_trip() -> None:
    made = spec(
        space={**GRID, "training.learning_rate": {"low": 0.1, "high": 1.0, "log": True}, "training.epochs": {"low": 1, "high": 9, "step": 2}},
        method="tpe", trials=30, seeds=2, seed=7, at_once=3, prune="epsilon", least_epsilon=False,
        budget={"runs": 50, "hours": 1.5, "epsilon": 20.0},
    )  # fmt: skip
    assert SweepSpec.from_toml(made.to_toml()) == made


def test_a_file_may_nest_and_start_from_a_preset() -> None:
    text = 'preset = "digits"\n[space.privacy]\nmax_grad_norm = [0.5, 1]\n[space.training]\nlearning_rate = {low = 0.1, high = 0.2, count = 2}\n'
    made = SweepSpec.from_toml(text)
    assert made.space.paths == ("privacy.max_grad_norm", "training.learning_rate")
    assert made.most_runs == 4
    with pytest.raises(ConfigError, match="not valid TOML"):
        SweepSpec.from_toml("= 1")
    with pytest.raises(ConfigError, match="neither preset nor base"):
        SweepSpec.from_toml("[space]")


def test_a_metric_of_the_training_records_is_no_goal() -> None:
    assert "none of" in problems(metric="train_loss")["metric"]
    assert "not measured on digits" in problems(metric="test_perplexity")["metric"]


def test_a_passphrase_cannot_be_kept_for_later_runs() -> None:
    sealed = BASE.replace(encryption__mode="sealed", encryption__key="passphrase").to_dict()
    assert "never stored" in problems(base=sealed)["base.encryption.key"]


@pytest.mark.parametrize(
    "changes, words",
    [
        pytest.param({"method": "tpe"}, "method=random", id="guided"),
        pytest.param({"prune": "step"}, "prune=none", id="pruned"),
        pytest.param({"budget": {"runs": 5}}, "budget", id="budget"),
    ],
)
def test_a_drawn_number_of_trials_needs_trials_that_do_not_look_at_results(changes, words) -> None:
    assert words in problems(**({"method": "random", "trials": 5, "trials_drawn": True} | changes))["trials_drawn"]


def test_a_drawn_number_stays_far_below_the_limit() -> None:
    found = problems(method="random", trials=26, trials_drawn=True)
    assert "at most 25" in found["trials"]
    # The chance that 1,000 runs do not hold the number.
    assert math.exp(1000 * math.log1p(-1 / 25)) < 1e-17
