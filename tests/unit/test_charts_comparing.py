"""Charts of comparing: colours by a setting, bands over seeds, two runs step by step; and which repeats are missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from privlab.analysis.facts import Facts, Provenance
from privlab.analysis.repeats import missing_repeats
from privlab.analysis.seeds import Group
from privlab.analysis.settings import values_of
from privlab.charts.bands import Repeats, bands_figure
from privlab.charts.colouring import colouring
from privlab.charts.difference import difference_figure
from privlab.charts.live import Mark
from privlab.charts.style import COLOURS, LINE_SCALE, style
from privlab.config import load_preset

BASE = load_preset("digits")


def run(
    number: int,
    values: Sequence[float] = (0.5, 0.6, 0.7),
    *,
    epsilon: float = 3.0,
    provenance: Provenance = "real",
    **settings,
) -> Facts:
    config = BASE.replace(name=f"run {number}", training__seed=number, **settings)
    steps = np.arange(1, len(values) + 1)
    curve = {"step": steps, "epsilon": steps * epsilon / len(values), "test_accuracy": np.array(values)}
    if math.isinf(epsilon):
        curve["epsilon"] = np.full(len(values), np.nan)
    return Facts(
        f"id{number}", config.name, values_of(config), {"test_accuracy": values[-1]}, epsilon, step=len(values), steps=len(values),
        curve=curve, config=config, provenance=provenance,
    )  # fmt: skip


def repeats(*runs: Facts, name: str = "group") -> Repeats:
    return Repeats(Group(runs), name, style(0))


def test_few_values_have_colours_of_their_own_and_equal_ones_share() -> None:
    runs = [run(number, privacy__max_grad_norm=norm) for number, norm in enumerate((0.4, 0.1, 0.4))]
    found = colouring(runs, "privacy.max_grad_norm")
    assert found.legend == (("0.1", COLOURS[0]), ("0.4", COLOURS[1])) and not found.is_scale
    assert found.by_run["id0"] == found.by_run["id2"] == COLOURS[1]


def test_many_numbers_lie_between_the_ends_of_a_scale() -> None:
    runs = [run(number, privacy__max_grad_norm=2.0**number) for number in range(9)]
    found = colouring(runs, "privacy.max_grad_norm")
    assert found.is_scale and [text for text, _ in found.legend] == ["1", "256"]
    low, high = (colour.lower() for _, colour in LINE_SCALE)
    assert (found.by_run["id0"], found.by_run["id8"]) == (low, high)
    # 16 is the middle of 1 and 256 in the logarithm.
    middle = [round((int(low[at : at + 2], 16) + int(high[at : at + 2], 16)) / 2) for at in (1, 3, 5)]
    assert found.by_run["id4"] == "#" + "".join(f"{value:02x}" for value in middle)


def test_a_setting_without_a_say_is_grey() -> None:
    runs = [run(0), run(1, privacy__clipping="none", privacy__noise_multiplier=0.0, privacy__target_epsilon=None)]
    found = colouring(runs, "privacy.max_grad_norm")
    assert found.by_run["id1"] == COLOURS[-1] and found.legend[-1] == ("–", COLOURS[-1])


def test_a_band_holds_the_mean_and_its_interval() -> None:
    figure = bands_figure([repeats(run(0, (0.5, 0.69)), run(1, (0.7, 0.71)))])
    band, mean = figure.data
    assert mean.y[-1] == pytest.approx(0.7) and tuple(mean.customdata) == (2,) * len(mean.x)
    # Student's t with one degree of freedom, and a standard error of 0.01; no share is above 1.
    assert band.y[len(mean.x) - 1] == pytest.approx(0.7 + 12.7062 * 0.01, rel=1e-4) and max(band.y) <= 1
    assert (
        "2 trained here" in figure.layout.title.subtitle.text
        and "public test data" in figure.layout.title.subtitle.text
    )


def test_a_single_run_has_no_band_and_one_without_a_guarantee_is_a_level() -> None:
    marks = [Mark(2.0, 0.9, "a paper")]
    figure = bands_figure([repeats(run(0)), repeats(run(1, epsilon=math.inf), name="plain")], marks=marks, at=1.5)
    line, level, published = figure.data
    assert line.fill is None and len(figure.data) == 3
    assert level.xaxis == "x2" and set(level.y) == {0.7} and "∞" in level.name
    assert published.name == "published" and figure.layout.shapes[0].x0 == 1.5


def test_imported_runs_are_told() -> None:
    figure = bands_figure([repeats(run(0, provenance="imported"))])
    assert "1 imported" in figure.layout.title.subtitle.text


def test_the_difference_of_two_runs_is_read_at_equal_steps() -> None:
    figure = difference_figure(run(0, (0.5, 0.6, 0.7)), run(1, (0.4, 0.4)), names=("a", "<b>"))
    (line,) = figure.data
    assert list(line.x) == [1, 2] and list(line.y) == pytest.approx([10, 20])
    assert figure.layout.title.text == "Test accuracy: a minus &lt;b&gt;"


def test_at_equal_epsilon_nothing_is_extrapolated() -> None:
    figure = difference_figure(run(0, (0.5, 0.6), epsilon=2.0), run(1, (0.5, 0.7), epsilon=1.0), x="epsilon")
    (line,) = figure.data
    assert list(line.x) == [1.0] and list(line.y) == pytest.approx([-20])


def test_runs_without_a_common_stretch_say_so() -> None:
    figure = difference_figure(run(0), run(1, epsilon=math.inf), x="epsilon")
    assert not figure.data and "no common stretch" in figure.layout.annotations[0].text


def seeds(configs) -> list[tuple[float, int]]:
    return [(config.privacy.max_grad_norm, config.training.seed) for config in configs]


def test_missing_repeats_are_the_same_fresh_seeds_for_both() -> None:
    a, b = (Group(tuple(run(n, privacy__max_grad_norm=norm) for n in range(2))) for norm in (0.1, 0.2))
    assert seeds(missing_repeats(a, b, 2)) == [(0.1, 2), (0.1, 3), (0.2, 2), (0.2, 3)]


def test_a_side_that_lags_first_gets_the_others_seeds() -> None:
    a = Group(tuple(run(n, privacy__max_grad_norm=0.1) for n in range(4)))
    b = Group((run(1, privacy__max_grad_norm=0.2),))
    assert seeds(missing_repeats(a, b, 2)) == [(0.2, 0), (0.2, 2)]
    assert seeds(missing_repeats(a, b, 4)) == [(0.1, 4), (0.2, 0), (0.2, 2), (0.2, 3), (0.2, 4)]
    with pytest.raises(ValueError, match="more=0"):
        missing_repeats(a, b, 0)
