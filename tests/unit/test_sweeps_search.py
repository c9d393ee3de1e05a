"""Which combination comes next: complete, never twice, and the same after a restart."""

from __future__ import annotations

import numpy as np
import pytest

from privlab.runs.sweeprecord import Sweep, SweepState, Trial, TrialRun
from privlab.sweeps.guided import suggest
from privlab.sweeps.pruning import hopeless
from privlab.sweeps.results import Result, Row, standing_of
from privlab.sweeps.search import propose
from privlab.sweeps.spec import SweepSpec
from tests.sweeping import spec

FREE = {"privacy.max_grad_norm": {"low": 0.1, "high": 10.0, "log": True}, "training.optimizer": ["sgd", "adam"]}


def row(
    number: int, values: dict, accuracy: float | None = None, epsilon: float = 1.0, refused: str | None = None
) -> Row:
    runs = ()
    if accuracy is not None:
        runs = (TrialRun(0, f"r{number}", None, "finished", {"test_accuracy": accuracy}, epsilon, 10, 1.0),)
    trial = Trial(number, values, refused, 0.0, runs)
    return Row(trial, tuple(Result(each, None) for each in runs), 1)


def gone_through(made: SweepSpec, trials: int, score=None) -> list[dict]:
    """What a search proposes one after the other, with the results that ``score`` gives."""
    rows: list[Row] = []
    for number in range(trials):
        values = propose(made, rows)
        if values is None:
            break
        rows.append(row(number, values, score(values) if score else None))
    return [each.trial.values for each in rows]


def test_grid() -> None:
    made = spec()
    assert gone_through(made, 9) == list(made.candidates())


def test_random_is_decided_by_the_seed_and_the_number_alone() -> None:
    made = spec(space=FREE, method="random", trials=12)
    first = gone_through(made, 12)
    assert first == gone_through(made, 12, score=lambda values: 0.5)
    assert len({tuple(each.values()) for each in first}) == 12
    assert first != gone_through(made.replace(seed=1), 12)


@pytest.mark.parametrize("method", ["random", "tpe", "nsga2"])
def test_a_small_space_is_gone_through_once_and_then_ends(method: str) -> None:
    made = spec(method=method, trials=50)
    found = gone_through(made, 50, score=lambda values: values["privacy.max_grad_norm"] / 10)
    assert sorted(tuple(each.values()) for each in found) == sorted(tuple(each.values()) for each in made.candidates())


@pytest.mark.parametrize("method", ["tpe", "nsga2"])
@pytest.mark.parametrize("both", [True, False], ids=["with epsilon", "metric alone"])
def test_a_guided_search_follows_from_the_results_in_the_store(method: str, both: bool) -> None:
    made = spec(space=FREE, method=method, trials=40, least_epsilon=both)
    score = lambda values: 1 / (1 + abs(np.log(values["privacy.max_grad_norm"])))  # noqa: E731
    found = gone_through(made, 30, score)
    rows = [row(number, values, score(values)) for number, values in enumerate(found)]
    # Another process, which knows nothing but the trials, proposes the same.
    assert propose(made, rows) == propose(made, list(rows))
    assert suggest(made, rows[:20]) != suggest(made, rows[:20], attempt=1)


def test_tpe_looks_where_it_was_good() -> None:
    made = spec(space=FREE, method="tpe", trials=60, least_epsilon=False)
    found = gone_through(made, 50, lambda values: 1 / (1 + abs(np.log(values["privacy.max_grad_norm"] / 3))))
    late = [abs(np.log(values["privacy.max_grad_norm"] / 3)) for values in found[25:]]
    early = [abs(np.log(values["privacy.max_grad_norm"] / 3)) for values in found[:8]]
    assert np.median(late) < np.median(early) / 2


def test_refused_and_running_trials_are_told_too() -> None:
    made = spec(space=FREE, method="tpe", trials=40)
    rows = [row(0, made.space.drawn([0.1, 0.1]), refused="no"), row(1, made.space.drawn([0.2, 0.9]))]
    assert propose(made, rows)


def test_trials_of_a_drawn_number_do_not_look_at_each_other() -> None:
    made = spec(method="random", trials=5, trials_drawn=True)
    found = gone_through(made, 40)
    # Four combinations, forty trials: each is drawn anew.
    assert len(found) == 40 and len({tuple(each.values()) for each in found}) == 4


def columns(*values: float, epsilon: float = 1.0) -> dict[str, np.ndarray]:
    steps = np.arange(1, len(values) + 1)
    return {
        "step": steps,
        "epsilon": epsilon * steps / 10,
        "test_accuracy": np.array(values),
        "test_loss": -np.array(values),
    }


GOOD = [columns(*(level + 0.05 * np.arange(10))) for level in (0.30, 0.32, 0.34, 0.36)]


def test_a_run_below_the_median_ends() -> None:
    why = hopeless(columns(0.1, 0.1, 0.12), 10, GOOD, metric="test_accuracy", along="step")
    assert why == "At step 3 its best test accuracy was 12.00 %, below the median 43.00 % of 4 other runs."
    assert hopeless(columns(0.1, 0.1, 0.44), 10, GOOD, metric="test_accuracy", along="step") is None
    assert hopeless(columns(0.1, 0.1, 0.12), 10, GOOD, metric="test_loss", along="step") is not None


def test_it_compares_at_equal_epsilon() -> None:
    # Half the privacy a step: at its last ε of 0.2, the others were at their second step.
    thrifty = columns(0.1, 0.2, 0.3, 0.39, epsilon=0.5)
    assert hopeless(thrifty, 10, GOOD, metric="test_accuracy", along="epsilon") is None
    assert hopeless(thrifty, 10, GOOD, metric="test_accuracy", along="step") is not None
    poor = columns(0.1, 0.2, 0.3, 0.37, epsilon=0.5)
    why = hopeless(poor, 10, GOOD, metric="test_accuracy", along="epsilon")
    assert why == "At ε = 0.2 its best test accuracy was 37.00 %, below the median 38.00 % of 4 other runs."


@pytest.mark.parametrize(
    "mine, steps, others",
    [
        pytest.param(columns(0.1), 10, GOOD, id="too early"),
        pytest.param(columns(0.1, 0.1, 0.1), 10, GOOD[:3], id="too few others"),
        pytest.param(columns(*[0.1] * 12), 12, GOOD, id="further than the others"),
        pytest.param({**columns(0.1, 0.1, 0.1), "epsilon": np.full(3, np.nan)}, 10, GOOD, id="no guarantee"),
        pytest.param({k: v[:0] for k, v in columns(0.1).items()}, 10, GOOD, id="no point"),
    ],
)
def test_a_run_is_left_in_peace(mine, steps, others) -> None:
    assert hopeless(mine, steps, others, metric="test_accuracy", along="epsilon") is None


def test_where_a_trial_stands() -> None:
    made = Sweep("s", "", spec().to_dict(), SweepState.RUNNING, None, True, None, 0, 0.0, None, 0.0, "")
    known = standing_of(made, [row(0, {}, 0.5).trial, row(1, {}, refused="no").trial, row(2, {}).trial], [])
    assert [each.state for each in known.rows] == ["done", "refused", "waiting"]
    assert known.best().trial.number == 0 and known.trials == 4
