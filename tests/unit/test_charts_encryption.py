"""Charts of the Encryption page draw what they are given, and say what it may be used for."""

from __future__ import annotations

import numpy as np

from privlab.charts.encryption import (
    attack_figure,
    bytes_figure,
    logits_figure,
    pictures_figure,
    step_cost_figure,
    twin_figure,
)
from privlab.metrics import PHASES


def test_every_phase_has_a_colour_and_absent_ones_no_legend():
    figure = step_cost_figure({"a": dict.fromkeys(PHASES, 0.001), "b": {}})
    assert [trace.name for trace in figure.data] == list(PHASES.values())
    assert all(trace.x[0] == 1.0 and trace.x[1] == 0.0 for trace in figure.data)
    assert len(step_cost_figure({"a": {"clip": 0.5}}).data) == 1
    assert figure.layout.title.subtitle.text == "machine timing"


def test_bytes_are_grey_pixels_and_what_is_missing_is_left_out():
    z = bytes_figure(bytes(range(200)), "t", width=100, rows=3).data[0].z
    assert z.shape == (3, 100) and z[1, 99] == 199 and np.isnan(z[2]).all()


def test_weights_become_pictures():
    z = pictures_figure(np.arange(12.0).reshape(3, 4), (2, 2), "t", columns=2).data[0].z
    assert z.shape == (6, 6) and z[0, 0] == 0 and z[1, 1] == 3 and z[3, 0] == 8 and np.isnan(z[0, 2])


def test_answers_stand_side_by_side():
    figure = logits_figure([1, 2], [1.5, 2.5])
    assert [tuple(trace.y) for trace in figure.data] == [(1, 2), (1.5, 2.5)]


def test_twins_and_attacks_are_labelled():
    figure = twin_figure("t", "ε", [1, 2], {"encrypted": [0.5, 0.6], "plain": [0.5, 0.6]})
    assert figure.layout.title.subtitle.text == "public test data"
    attack = attack_figure([(0, 0), (1, 1)], None)
    assert len(attack.data) == 2 and "private diagnostic" in attack.layout.title.subtitle.text
    assert len(attack_figure([(0, 0), (1, 1)], ([0, 1], [0, 1])).data) == 3
