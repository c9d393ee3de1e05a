"""Each of the six numbers from the other five, and settings of equal ε."""

from __future__ import annotations

import math

import pytest

from privlab.privacy.accounting import delta_of, epsilon_of
from privlab.privacy.calculator import solve
from privlab.privacy.calibration import OutOfReach
from privlab.privacy.phases import Phase
from privlab.privacy.planning import steps_for

CASE = {
    "epsilon": 3.0, "noise_multiplier": 1.8, "batch_size": 4096, "epochs": 27, "records": 60_000, "delta": 1e-5,
}  # fmt: skip
WAYS = [{}, {"adjacency": "replace-one"}, {"accountant": "rdp"}]


def spent(case, **how) -> float:
    return epsilon_of(phases(case), case["delta"], **how)


def phases(case):
    steps = steps_for(case["epochs"], case["records"], case["batch_size"])
    return (Phase(case["batch_size"] / case["records"], case["noise_multiplier"], steps),)


@pytest.mark.parametrize("how", WAYS)
def test_what_is_spent(how):
    assert solve("epsilon", **CASE, **how) == spent(CASE, **how)
    assert solve("delta", **CASE, **how) == delta_of(phases(CASE), 3.0, **how)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    ("unknown", "worse"), [("noise_multiplier", 0.999), ("batch_size", 1.001), ("epochs", 1.0), ("records", 0.999)]
)
def test_an_answer_keeps_to_the_limit_and_a_little_further_does_not(unknown, worse, how):
    delta = 1e-6  # leaves room for more records
    case = {**CASE, "delta": delta}
    found = solve(unknown, **case, **how)
    assert spent({**case, unknown: found}, **how) <= 3.0
    if unknown == "noise_multiplier":
        further = found * worse
    else:
        further = (math.floor(found * worse) - 1) if worse < 1 else (math.ceil(found * worse) + 1)
        assert isinstance(found, int)
    assert spent({**case, unknown: further}, **how) > 3.0


def test_small_answers_are_exact():
    small = {"epsilon": 1.0, "noise_multiplier": 1.0, "epochs": 3, "records": 1437, "batch_size": 16, "delta": 1e-4}
    for unknown in ("batch_size", "epochs"):
        found = solve(unknown, **small)
        assert spent({**small, unknown: found}) <= 1.0 < spent({**small, unknown: found + 1})


def test_everything_allowed_gives_the_bound():
    generous = {**CASE, "epsilon": 900.0, "noise_multiplier": 100.0}
    assert solve("batch_size", **generous) == 60_000
    assert solve("records", **generous) == 4096
    assert solve("epochs", **{**generous, "noise_multiplier": 1000.0}) == 100_000


@pytest.mark.parametrize("unknown", ["batch_size", "epochs", "records", "noise_multiplier"])
def test_what_cannot_be_met_is_told(unknown):
    with pytest.raises(OutOfReach, match=r"epsilon=0\.001 cannot be met"):
        solve(unknown, **{**CASE, "epsilon": 0.001})


def test_without_noise_nothing_is_met():
    assert solve("epsilon", **{**CASE, "noise_multiplier": 0.0}) == math.inf
    assert solve("delta", **{**CASE, "noise_multiplier": 0.0}) == 1.0
    with pytest.raises(OutOfReach):
        solve("epochs", **{**CASE, "noise_multiplier": 0.0})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch_size": 70_000}, r"batch_size=70,000 is more than the records=60,000"),
        ({"delta": 1e-3}, r"delta=0\.001 must be below 1 / records = 1\.67e-05"),
        ({"delta": 0.0}, r"delta=0 must be at least 1e-10"),
        ({"epochs": 0}, r"epochs=0 must be a whole number and at least 1"),
        ({"records": 2.5}, r"records=2\.5"),
        ({"records": 10**10}, r"records=10,000,000,000 must be at most 1,000,000,000"),
        ({"noise_multiplier": 2000.0}, r"noise_multiplier=2000 must lie between 0 and 1000"),
        ({"noise_multiplier": 0.01}, r"noise_multiplier=0\.01 must be 0 or lie between 0\.05 and 1000"),
        ({"noise_multiplier": None}, r"noise_multiplier is missing"),
        ({"noise_multiplier": math.nan}, r"noise_multiplier is missing"),
    ],
)
def test_numbers_out_of_range_are_named(change, named):
    with pytest.raises(ValueError, match=named):
        solve("epsilon", **{**CASE, **change})


def test_an_unknown_unknown():
    with pytest.raises(ValueError, match="unknown='sigma'"):
        solve("sigma", **CASE)


def test_more_records_than_delta_allows_are_not_proposed():
    with pytest.raises(OutOfReach, match=r"records=99,999"):
        solve("records", **CASE, adjacency="replace-one")
    with pytest.raises(ValueError, match=r"batch_size=4,096 is more than the records that delta=0\.001 allows \(999\)"):
        solve("records", **{**CASE, "delta": 1e-3})
