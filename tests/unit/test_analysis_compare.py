"""Verdicts: right about made-up worlds as often as they say, and never bold on one run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from privlab.analysis.compare import compare, compare_all
from privlab.analysis.facts import Promise
from privlab.analysis.seeds import Group
from tests.madefacts import fact, repeats


def group(prefix: str, values, epsilon: float = 3.0, **about) -> Group:
    return Group(tuple(repeats(prefix, values, epsilon, **about)))


def test_pairs_by_seed_are_compared_pair_by_pair():
    # Seeds differ a lot, pairs do not: only the paired test sees it.
    a, b = [0.80, 0.85, 0.90, 0.95], [0.79, 0.838, 0.89, 0.939]
    found = compare(group("a", a), group("b", b))
    known = stats.ttest_rel(a, b)
    assert (found.test, found.word) == ("paired t", "a is better")
    assert (found.p, found.effect) == (pytest.approx(known.pvalue), pytest.approx(np.mean(a) - np.mean(b)))
    assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval()))
    assert "4 seeds that both have" in " ".join(found.why)
    assert stats.ttest_ind(a, b, equal_var=False).pvalue > 0.5


def test_other_seeds_are_compared_by_welch():
    a, b = [0.80, 0.81, 0.82, 0.83], [0.84, 0.88, 0.86]
    found = compare(group("a", a), group("b", b, first_seed=10))
    known = stats.ttest_ind(a, b, equal_var=False)
    assert (found.test, found.word) == ("Welch t", "b is better")
    assert found.p == pytest.approx(known.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval()))
    # Not the same seeds on both sides: pairing would throw runs away.
    assert compare(group("a", a), group("b", b)).test == "Welch t"


def test_a_metric_that_goes_down_is_better_when_smaller():
    def losses(prefix, values):
        return Group(
            tuple(
                fact(f"{prefix}{seed}", metrics={"test_loss": value}, settings={"training.seed": seed})
                for seed, value in enumerate(values)
            )
        )

    assert compare(losses("a", [0.5, 0.51, 0.5]), losses("b", [0.9, 0.91, 0.905]), "test_loss").word == "a is better"
    assert compare(losses("a", [0.9, 0.91, 0.92]), losses("b", [0.5, 0.52, 0.5]), "test_loss").word == "b is better"


@pytest.mark.parametrize(("a", "b"), [([0.99], [0.5]), ([0.99], [0.5, 0.51, 0.5]), ([0.9, 0.91], [0.1])])
def test_a_single_run_never_wins(a, b):
    found = compare(group("a", a), group("b", b, first_seed=5))
    assert found.word == "cannot say" and math.isnan(found.p)
    assert any("a single run says nothing about its spread" in why for why in found.why)


def test_what_is_too_close_to_call_says_how_many_seeds_would():
    found = compare(group("a", [0.80, 0.83, 0.81]), group("b", [0.80, 0.81, 0.82], first_seed=9))
    assert found.word == "undecided" and found.p > 0.05
    assert found.more_seeds > 3 and f"About {found.more_seeds} more seeds" in " ".join(found.why)
    assert "Judge when all have ended" in " ".join(found.why)


def test_alike_needs_an_interval_within_the_margin():
    a, b = [0.900, 0.901, 0.899, 0.9005], [0.9003, 0.9005, 0.8998, 0.9]
    assert compare(group("a", a), group("b", b, first_seed=9)).word == "alike"
    assert compare(group("a", a), group("b", b, first_seed=9), margin=0.0001).word == "undecided"


def test_both_must_reach_epsilon_and_are_read_there():
    def curves(prefix, end, top):
        return Group(
            tuple(
                fact(f"{prefix}{s}", top + s / 1000, end, curve=[(0.5, 0.5), (end, top + s / 1000)], settings={"training.seed": s})
                for s in range(3)
            )
        )  # fmt: skip

    a, b = curves("a", 4.0, 0.9), curves("b", 2.0, 0.8)
    found = compare(a, b)
    # At ε = 2 of 0.5 … 4, A has come 3/7 of its way.
    assert found.epsilon == 2.0 and found.effect == pytest.approx(
        (0.5 + 0.4 * 1.5 / 3.5 - 0.8) + (1.5 / 3.5 - 1) / 1000
    )
    assert any("may do better than one on its way" in why for why in found.why)
    beyond = compare(a, b, epsilon=3.0)
    assert beyond.word == "cannot say" and "No run of b0" in beyond.why[0]


def test_what_cannot_be_set_beside_each_other_is_refused_in_words():
    a = group("a", [0.8, 0.81])
    assert "share runs" in compare(a, a).why[0]
    other = group("b", [0.9, 0.91], promise=Promise(1e-6))
    assert "different promises" in compare(a, other).why[0]
    elsewhere = group("c", [0.9, 0.91], settings={"data.dataset": "adult", "model.name": "logistic"})
    assert "different records" in compare(a, elsewhere).why[0]
    bare = group("d", [0.97, 0.98], math.inf)
    assert "no ε at which both stand" in compare(a, bare).why[0]
    assert compare(bare, group("e", [0.9, 0.91], math.inf)).epsilon == math.inf
    assert compare(group("f", [0.8, 0.8]), group("g", [0.7, 0.7])).word == "cannot say"


@pytest.mark.parametrize(
    ("about", "named"),
    [({"alpha": 0.0}, "alpha=0"), ({"power": 1.0}, "power=1"), ({"margin": -1.0}, "margin=-1"), ({"epsilon": 0.0}, "epsilon=0")],
    ids=["alpha", "power", "margin", "epsilon"],
)  # fmt: skip
def test_numbers_out_of_range_are_named(about, named):
    with pytest.raises(ValueError, match=named):
        compare(group("a", [0.8]), group("b", [0.9]), **about)
    with pytest.raises(ValueError, match="no better direction"):
        compare(group("a", [0.8]), group("b", [0.9]), "batch_size")


def test_many_comparisons_take_boldness_back():
    a, b = group("a", [0.800, 0.812, 0.806]), group("b", [0.790, 0.800, 0.801])
    alone = compare(a, b)
    assert alone.word == "a is better" and 0.02 < alone.p < 0.05
    others = [(group(f"x{i}", [0.8, 0.81, 0.79]), group(f"y{i}", [0.8, 0.79, 0.82])) for i in range(3)]
    found = compare_all([(a, b), *others])[0]
    assert (found.word, found.comparisons) == ("undecided", 4) and found.p_corrected == pytest.approx(4 * alone.p)
    assert "not decided" in found.why[0] and "Holm" in found.why[-1]
    assert compare_all([(a, b)]) == [alone]


def test_the_test_set_is_part_of_what_is_not_known():
    # 355 test records of the digits: three points either way, however many seeds.
    found = compare(group("a", [0.900, 0.901, 0.902]), group("b", [0.890, 0.8905, 0.892]))
    assert found.word == "a is better" and found.low > 0
    assert found.low_with_test < 0 < found.high_with_test
    assert any("for these test records" in why for why in found.why)
