"""Two settings and a metric: means in cells, and cells that are open."""

from __future__ import annotations

import math

import numpy as np
import pytest

from privlab.analysis.grid import grid
from tests.madefacts import fact

C, RATE = "privacy.max_grad_norm", "training.learning_rate"


def run(name: str, bound: float, rate: float, value: float, **about):
    settings = {C: bound, RATE: rate} | about.pop("settings", {})
    return fact(name, value, settings=settings, **about)


RUNS = [
    run("a", 0.1, 0.2, 0.8),
    run("b", 0.1, 0.2, 0.9, settings={"training.seed": 1}),
    run("c", 1.0, 0.2, 0.7),
    run("d", 1.0, 0.4, 0.6),
]


def test_cells_hold_means_and_the_rest_stays_open():
    found = grid(RUNS, C, RATE)
    assert (found.x_values, found.y_values) == ((0.1, 1.0), (0.2, 0.4))
    assert found.n.tolist() == [[2, 1], [0, 1]]
    assert found.mean[0].tolist() == pytest.approx([0.85, 0.7]) and math.isnan(found.mean[1, 0])
    assert found.open_cells == [(0.1, 0.4)] and found.others == ()


def test_a_cell_is_found_by_its_key_and_gives_its_runs():
    found = grid(RUNS, C, RATE)
    assert found.place("1.0~0.4") == (1, 1) and found.place("0.1~0.2") == (0, 0)
    assert [each.id for each in found.runs_in(0, 0)] == ["a", "b"] and found.runs_in(1, 0) == []
    assert found.place("2.0~0.4") is None and found.place("") is None


def test_choices_come_in_their_declared_order():
    runs = [fact("x", settings={"privacy.clipping": way}) for way in ("automatic", "flat", "per-layer")]
    assert grid(runs, "privacy.clipping", RATE).x_values == ("flat", "per-layer", "automatic")


def test_what_else_differs_within_a_cell_is_named():
    found = grid([*RUNS, run("e", 0.1, 0.2, 0.5, settings={"training.epochs": 7})], C, RATE)
    assert found.others == ("Epochs E",)


def test_void_runs_and_runs_without_the_setting_are_left_out():
    bare = fact("n", math.nan)
    open_ = fact("o", 0.97, math.inf, settings={"privacy.clipping": "none", "privacy.noise_multiplier": 0.0})
    found = grid([*RUNS, run("v", 0.1, 0.4, 0.1, void=True), bare, open_], C, RATE)
    assert np.array_equal(found.n, grid(RUNS, C, RATE).n)
    assert grid([], C, RATE).mean.size == 0


def test_unknown_names_are_refused():
    with pytest.raises(KeyError, match="learning_rate"):
        grid(RUNS, C, "learning_rate")
    with pytest.raises(ValueError, match="choose two"):
        grid(RUNS, C, C)
