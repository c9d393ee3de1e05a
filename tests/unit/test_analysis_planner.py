"""The planner: its interval holds the truth of made-up worlds as often as it says, and it knows when it cannot say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from privlab.analysis.facts import Promise
from privlab.analysis.planner import plan_for
from privlab.analysis.surface import fit
from privlab.metrics import METRICS
from privlab.preflight import preflight
from tests.madefacts import DIGITS, fact

_RATES = {0.1: -0.25, 0.2: 0.0, 0.4: 0.12}


def truth(rate: float, epsilon):
    logit = 1.2 + 0.7 * np.log(epsilon) - 0.35 / epsilon + _RATES[rate]
    return 1 / (1 + np.exp(-logit))


def made(count: int, seed: int, *, low: float = 0.5, high: float = 8.0, noise: float = 0.006):
    random, found = np.random.default_rng(seed), []
    for place in range(count):
        rate, epsilon = float(random.choice(list(_RATES))), float(np.exp(random.uniform(np.log(low), np.log(high))))
        value = float(truth(rate, epsilon) + random.normal(0, noise))
        settings = {"training.learning_rate": rate, "training.seed": place, "privacy.target_epsilon": epsilon}
        found.append(fact(f"r{place}", value, epsilon, settings=settings, name=f"rate {rate:g}", created=place))
    return found


def least(goal: float, rates=tuple(_RATES)) -> float:
    grid = np.geomspace(0.1, 50, 20_000)
    return min(float(grid[np.argmax(truth(rate, grid) >= goal)]) for rate in rates)


@pytest.mark.parametrize("count", [8, 14, 30])
def test_the_interval_holds_the_truth_as_often_as_it_says(count):
    goal = 0.85
    answers = [plan_for(made(count, seed), goal, proposals=0) for seed in range(40)]
    said = [answer for answer in answers if answer.word == "predicted"]
    assert len(said) >= 36 and all(answer.low <= answer.epsilon <= answer.high for answer in said)
    held = sum(answer.low <= least(goal) <= answer.high for answer in said)
    # 90 %, and three standard deviations less.
    assert held >= 0.9 * len(said) - 3 * math.sqrt(len(said) * 0.9 * 0.1)


def test_more_runs_make_it_surer_and_the_left_out_ones_are_checked():
    few, many = (plan_for(made(count, 3), 0.85) for count in (8, 60))
    assert many.high / many.low < few.high / few.low
    assert many.checked == pytest.approx(60, abs=5) and 0.8 <= many.coverage <= 1
    assert many.chosen.settings["training.learning_rate"] == 0.4
    assert many.epsilon == pytest.approx(least(0.85), rel=0.1)
    assert many.safe > many.epsilon and many.one_run == pytest.approx(0.5, abs=0.1)


def test_the_settings_it_names_pass_the_gate_and_aim_there():
    answer = plan_for(made(20, 1), 0.85)
    checked = preflight(answer.config)
    assert checked.plan.target_epsilon == pytest.approx(answer.epsilon, rel=0.05)
    assert answer.config.training.learning_rate == answer.chosen.settings["training.learning_rate"]


def test_what_it_would_run_next_teaches_most_where_the_answer_lies():
    runs = made(10, 2)
    answer = plan_for(runs, 0.85)
    assert len(answer.missing) == 3 and len({p.config.training.seed for p in answer.missing}) == 3
    assert {p.config.training.seed for p in answer.missing}.isdisjoint(run.seed for run in runs)
    assert answer.low * 0.9 <= answer.missing[0].epsilon <= answer.high * 1.1
    gains = [proposal.gain for proposal in answer.missing]
    assert gains == sorted(gains, reverse=True) and 0 < gains[0] < 1
    for proposal in answer.missing:
        assert preflight(proposal.config).plan.target_epsilon == proposal.epsilon
    # Running them makes it surer.
    random = np.random.default_rng(9)
    after = [
        fact(f"n{i}", float(truth(p.config.training.learning_rate, p.epsilon) + random.normal(0, 0.006)), p.epsilon, config=p.config)
        for i, p in enumerate(answer.missing)
    ]  # fmt: skip
    again = plan_for([*runs, *after], 0.85)
    assert again.high / again.low < answer.high / answer.low


def test_out_of_reach_is_said_and_larger_epsilon_proposed():
    answer = plan_for([*made(20, 4, high=3.0), fact("open", 0.93, math.inf, config=fact("x").config.replace(
        privacy__clipping="none", privacy__noise_multiplier=0.0))], 0.95)  # fmt: skip
    assert (
        answer.word == "out of reach" and answer.chance < 0.5 and answer.config is None and math.isnan(answer.epsilon)
    )
    assert answer.known is None and any(proposal.epsilon > 3 for proposal in answer.missing)
    assert any("Even without a guarantee" in why for why in answer.why)


def test_what_the_smallest_epsilon_gives_already_is_an_upper_bound_only():
    answer = plan_for(made(20, 5, low=4.0, high=16.0), 0.7)
    assert answer.word == "at most" and "how much less would do is not known" in answer.why[0]


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([], "No run has this number"),
        (made(3, 0), "3 runs with a guarantee"),
        ([fact(f"s{i}", 0.8 + i / 100, 3.0, settings={"training.seed": i}) for i in range(9)], "at 1 different ε"),
        ([*made(9, 0), fact("o", settings={"data.dataset": "adult", "model.name": "logistic"})], "several data sets"),
    ],
    ids=["none", "few", "one-epsilon", "data"],
)
def test_it_says_when_it_cannot_say(runs, words):
    answer = plan_for(runs, 0.85)
    assert answer.word == "cannot say" and words in answer.why[0] and math.isnan(answer.epsilon)


@pytest.mark.parametrize("seed", range(6))
def test_pure_noise_is_no_ground_for_an_answer(seed):
    random = np.random.default_rng(seed)
    runs = [
        fact(f"z{i}", float(random.uniform(0.5, 0.95)), float(e), settings={"privacy.target_epsilon": float(e), "training.seed": i})
        for i, e in enumerate(random.uniform(0.5, 8, 25))
    ]  # fmt: skip
    answer = plan_for(runs, 0.8)
    assert answer.word == "cannot say" and "tell a pattern from chance" in answer.why[0]


def test_few_runs_get_a_first_design():
    answer = plan_for(made(3, 0)[:1], 0.85)
    assert [proposal.epsilon for proposal in answer.missing] and all(math.isnan(p.gain) for p in answer.missing)
    assert len({proposal.epsilon for proposal in answer.missing}) == len(answer.missing)


def test_what_does_not_belong_is_left_out():
    runs = made(20, 6)
    noise = [
        fact("void", 0.99, 0.6, void=True),
        fact("book", 0.99, 0.6, provenance="reference"),
        fact("other", 0.99, 0.6, promise=Promise(1e-2), settings={"privacy.delta": 5e-5}),
    ]
    assert plan_for([*runs, *noise], 0.85).epsilon == plan_for(runs, 0.85).epsilon
    assert plan_for(runs[::-1], 0.85).epsilon == plan_for(runs, 0.85).epsilon


def test_a_metric_that_goes_down_is_planned_as_well():
    runs = [
        fact(run.id, epsilon=run.epsilon, config=run.config, metrics={"test_perplexity": 100 * (1 - run.metric("test_accuracy"))})
        for run in made(20, 7)
    ]  # fmt: skip
    answer = plan_for(runs, 15.0, "test_perplexity")
    assert answer.word == "predicted" and answer.low <= least(0.85) * 1.05 and answer.high >= least(0.85) * 0.95


@pytest.mark.parametrize(
    ("value", "metric", "named"),
    [(85, "test_accuracy", "0.85 for 85 %"), (-1.0, "test_loss", "value=-1"), (0.5, "clipped_share", "no better direction")],
    ids=["share", "negative", "direction"],
)  # fmt: skip
def test_goals_that_are_none_are_refused(value, metric, named):
    with pytest.raises(ValueError, match=named):
        plan_for([], value, metric)


def test_deviations_are_widened_until_left_out_results_fit():
    # A kink that no smooth surface follows.
    runs = [
        fact(f"k{i}", 0.6 if e < 2 else 0.9, e, settings={"privacy.target_epsilon": e, "training.seed": i})
        for i, e in enumerate(np.geomspace(0.5, 8, 16).tolist())
    ]
    surface = fit(runs, METRICS["test_accuracy"])
    assert surface.widening > 1.2 and surface.coverage >= 0.9


@pytest.mark.parametrize(("before", "after"), [
    ("mine: C = 2, σ = 1, seed 0", "mine: C = 2 · ε = 8"),
    ("mine: σ = 1, seed 0 · ε = 4", "mine · ε = 8"),
    ("mine", "mine · ε = 8"),
    ("", "ε = 8"),
])  # fmt: skip
def test_a_proposal_is_named_by_what_is_true_of_it(before, after):
    runs = [
        fact(str(seed), 0.8, 2.0, config=DIGITS.replace(name=before, training__seed=seed), name=before)
        for seed in range(3)
    ]
    assert after in {proposal.config.name for proposal in plan_for(runs, 0.9).missing}
