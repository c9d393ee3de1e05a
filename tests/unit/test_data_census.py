from __future__ import annotations

import numpy as np
import pytest

from privlab.data import census


def columns(**changed):
    one = {name: np.array([low]) for name, (low, _) in census.RANGES.items()}
    one |= {name: np.array([0], np.uint8) for name in census.CATEGORIES}
    return one | {name: np.array([value]) for name, value in changed.items()}


def test_width_is_numbers_and_categories():
    # 5 numbers; 9 + 16 + 7 + 15 + 6 + 5 + 2 + 42 categories of the documentation, "?" included where it occurs.
    assert census.WIDTH == 5 + 102
    assert census.encode(columns()).shape == (1, census.WIDTH)


def test_each_column_of_categories_sets_exactly_one_input():
    row = census.encode(columns(sex=1))[0]
    assert row[len(census.RANGES) :].sum() == len(census.CATEGORIES)
    assert set(np.unique(row)) == {0.0, 1.0}


@pytest.mark.parametrize("name", census.RANGES)
def test_ends_of_a_public_range_become_0_and_1(name):
    low, high = census.RANGES[name]
    place = list(census.RANGES).index(name)
    for value, scaled in ((low, 0), (high, 1), (low - 5, 0), (high + 5, 1)):
        assert census.encode(columns(**{name: value}))[0, place] == scaled


def test_amounts_of_money_are_scaled_by_logarithm():
    place = list(census.RANGES).index("capital-gain")
    value = census.encode(columns(**{"capital-gain": 999}))[0, place]
    assert value == pytest.approx(np.log(1000) / np.log(100_000))


def test_a_row_does_not_depend_on_the_others():
    rng = np.random.default_rng(0)
    many = {name: rng.integers(low, high, 50) for name, (low, high) in census.RANGES.items()}
    many |= {name: rng.integers(0, len(values), 50) for name, values in census.CATEGORIES.items()}
    together = census.encode(many)
    alone = [census.encode({name: column[[i]] for name, column in many.items()})[0] for i in range(50)]
    np.testing.assert_array_equal(together, alone)


def test_an_unknown_category_is_refused():
    with pytest.raises(IndexError):
        census.encode(columns(sex=2))
