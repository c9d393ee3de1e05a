"""Schedules: what factor holds at which step, and what a custom one may say."""

from __future__ import annotations

from itertools import pairwise

import pytest

from privlab.config import ConfigError, RunConfig
from privlab.config.schedule import CONSTANT, MOST_STRETCHES, Schedule, parse_custom


def privacy(**settings):
    return RunConfig.from_dict({"privacy": {"noise_multiplier": 2.0, **settings}}).privacy


def test_constant():
    assert CONSTANT.stretches(10_000_000_000) == ((1, 1.0),)
    assert CONSTANT.at(77, 100) == 1.0


def test_linear_goes_evenly_from_one_to_its_end():
    schedule = Schedule("linear", 0.5)
    assert [schedule.at(step, 5) for step in range(1, 6)] == [1.0, 0.875, 0.75, 0.625, 0.5]


def test_exponential_has_a_constant_ratio():
    values = [Schedule("exponential", 0.25).at(step, 5) for step in range(1, 6)]
    assert values == pytest.approx([1, 0.25**0.25, 0.5, 0.25**0.75, 0.25])


def test_stairs_are_even():
    values = [Schedule("step", 0.25, 3).at(step, 9) for step in range(1, 10)]
    assert values == pytest.approx([1] * 3 + [0.5] * 3 + [0.25] * 3)


@pytest.mark.parametrize("kind", ["linear", "exponential"])
@pytest.mark.parametrize("steps", [1, 2, 63, 64, 65, 1000, 10**9])
def test_smooth_schedules_have_few_stretches(kind, steps):
    marks = Schedule(kind, 0.1).stretches(steps)
    assert len(marks) == min(MOST_STRETCHES, steps)
    assert marks[0] == (1, 1.0)
    assert steps == 1 or marks[-1][1] == pytest.approx(0.1)
    assert all(a[0] < b[0] <= steps for a, b in pairwise(marks))


def test_custom_holds_from_its_step_on_and_beyond_the_end():
    schedule = Schedule("custom", custom=parse_custom("3:0.5, 6:2"))
    assert [schedule.at(step, 7) for step in range(1, 8)] == [1, 1, 0.5, 0.5, 0.5, 2, 2]
    assert schedule.at(999, 7) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "“” is not of the form"),
        ("5", "“5” is not of the form"),
        ("a:1", "“a:1” is not of the form"),
        ("1:1, 1:2", "step 1 must be"),
        ("0:1", "step 0 must be"),
        ("1:0", "factor 0 must lie"),
        ("1:nan", "factor nan must lie"),
        ("1:1e9", "factor 1e\\+09 must lie"),
    ],
)
def test_custom_text_is_refused_by_name(text, words):
    with pytest.raises(ValueError, match=words):
        parse_custom(text)
    with pytest.raises(ConfigError) as caught:
        privacy(noise_schedule="custom", noise_schedule_custom=text)
    assert caught.value.problems[0].path == "privacy.noise_schedule_custom"


def test_text_of_a_schedule_that_is_not_chosen_says_nothing():
    assert privacy(noise_schedule_custom="nonsense").schedule_of_noise is CONSTANT


@pytest.mark.parametrize(
    "clash",
    [
        {"clipping": "adaptive"},
        {"clip_schedule": "linear"},
        {"noise_schedule": "step"},
        {"protection": "rounded"},
        {"noise_multiplier": 0.0},
    ],
)
def test_correlated_noise_refuses_what_its_accounting_does_not_cover(clash):
    with pytest.raises(ConfigError) as caught:
        privacy(bands=4, **clash)
    assert caught.value.problems[0].path == "privacy.bands"


def test_adaptive_clipping_needs_noise():
    with pytest.raises(ConfigError, match="clipping=adaptive without noise"):
        privacy(clipping="adaptive", noise_multiplier=0.0)


def test_rounded_noise_comes_from_the_cipher():
    with pytest.raises(ConfigError, match="rounded with randomness=plain"):
        privacy(protection="rounded", randomness="plain")
