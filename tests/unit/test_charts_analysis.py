"""Charts of comparing: they show what was computed, say what it rests on, and have something to say when there is nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from privlab.analysis.decomposition import breakdown
from privlab.analysis.grid import grid
from privlab.analysis.importance import Importance, Importances
from privlab.analysis.pareto import fronts
from privlab.analysis.seeds import Group, band, groups
from privlab.charts.decomposition import decomposition_figure
from privlab.charts.heatmap import heatmap_figure
from privlab.charts.importance import importance_figure
from privlab.charts.live import Mark
from privlab.charts.parallel import MOST_AXES, parallel_figure
from privlab.charts.pareto import EPSILON_LINE, VALUE_LINE, pareto_figure, reading
from privlab.metrics import Release
from tests.madefacts import fact, repeats
from tests.unit.test_analysis_decomposition import APART, finished
from tests.unit.test_analysis_grid import RATE, RUNS, C

MIXED = [
    *repeats("low", [0.80, 0.82], 1.0, settings={"privacy.target_epsilon": 1.0}),
    fact("mid<b>", 0.85, 2.0, settings={"privacy.target_epsilon": 2.0}, name="mid<b>"),
    fact("beaten", 0.79, 2.5, settings={"privacy.target_epsilon": 2.5}),
    fact("theirs", 0.9, 4.0, settings={"privacy.target_epsilon": 4.0}, provenance="imported"),
    fact("open", 0.97, math.inf, settings={"training.epochs": 3}),
]
(FRONT,) = fronts(groups(MIXED))


def named(figure, name: str):
    return next(trace for trace in figure.data if trace.name == name)


def below(figure) -> str:
    return figure.layout.title.subtitle.text


def test_the_front_shows_who_stands_where_and_on_how_many_runs():
    figure = pareto_figure(FRONT, references=[Mark(3.0, 0.86, "CNN", "a paper")])
    here, theirs = named(figure, "on the front, trained here"), named(figure, "on the front, imported")
    assert list(here.x) == [1.0, 2.0] and list(theirs.x) == [4.0] and theirs.marker.symbol == "square-open"
    assert here.customdata[0][1].startswith("mean of 2 runs, 95 % interval")
    assert list(here.customdata[1]) == ["mid&lt;b&gt;", "one run: another seed may give something else"]
    assert here.error_y.array[0] > 0 and here.error_y.array[1] == 0
    stair = named(figure, "best at each ε")
    assert list(stair.x) == [1.0, 2.0, 4.0, 4.0] and stair.line.shape == "hv"
    assert any(trace.name and "ε = ∞" in trace.name for trace in figure.data)
    assert named(figure, "published, not compared").y == (0.86,)
    assert Release.TEST_DATA.value in below(figure) and "δ = 0.0001" in below(figure) and "1 imported" in below(figure)


def test_the_reading_lines_can_be_dragged_and_are_read():
    figure = pareto_figure(FRONT, epsilon=2.2, value=0.83)
    lines = {shape.name: shape for shape in figure.layout.shapes}
    assert lines[EPSILON_LINE].x0 == 2.2 and lines[VALUE_LINE].y0 == 0.83
    assert all(shape.editable for shape in lines.values())
    within, needs = reading(FRONT, 2.2, 0.83)
    assert within == "With ε ≤ 2.2: 85.00 % at best (mid<b>)." and "needs ε = 2 at least" in needs
    assert (
        "No result has ε ≤ 0.5" in reading(FRONT, 0.5, 0.99)[0]
        and "No result with a guarantee" in reading(FRONT, 1, 0.99)[1]
    )


def test_results_have_the_ids_of_their_runs_and_the_chosen_are_large():
    figure = pareto_figure(FRONT, chosen={"low1"})
    here = named(figure, "on the front, trained here")
    assert list(here.ids) == ["low0", "mid<b>"] and list(here.selectedpoints) == [0]
    assert here.selected.marker.size > here.marker.size and here.unselected.marker.opacity == 1
    level = next(trace for trace in figure.data if trace.name and "ε = ∞" in trace.name)
    assert set(level.ids) == {"open"}
    # Without a choice none is drawn as if it were not chosen.
    assert named(pareto_figure(FRONT), "on the front, trained here").selectedpoints is None


def test_a_choice_moves_no_axis():
    wide = [fact(f"w{s}", 0.9, 4.0, curve=[(0.01, 0.02), (4.0, 0.9)], settings={"training.seed": s}) for s in range(3)]
    plain = pareto_figure(FRONT).layout
    figure = pareto_figure(FRONT, {"wide": band(Group(tuple(wide)), "test_accuracy")}, chosen={"low0"}).layout
    assert figure.xaxis.range == plain.xaxis.range and figure.yaxis.range == plain.yaxis.range
    # All results are within: ε from 1 to 4, and the level of the run without a guarantee.
    assert plain.xaxis.range[0] < 0 and math.log10(4) < plain.xaxis.range[1] < math.log10(5)
    assert plain.yaxis.range[1] > 0.97


def test_bands_are_drawn_where_there_are_several_runs():
    curves = [
        fact(f"c{s}", 0.9, 4.0, curve=[(0.5, 0.5 + s / 50), (4.0, 0.9)], settings={"training.seed": s})
        for s in range(3)
    ]
    figure = pareto_figure(FRONT, {"a <group>": band(Group(tuple(curves)), "test_accuracy")})
    line = named(figure, "a &lt;group&gt;")
    assert set(line.customdata) == {3} and any(trace.fill == "toself" for trace in figure.data)
    empty = pareto_figure(FRONT, {"nothing": band(Group((fact("x", math.nan),)), "test_accuracy")})
    assert not any(trace.name == "nothing" for trace in empty.data)


def test_nothing_yet_is_said():
    (front,) = fronts(groups([MIXED[-1]]))
    assert pareto_figure(front).data
    bare = pareto_figure(replace(front, without=()))
    assert "No result yet" in bare.layout.annotations[0].text
    assert "No run has this metric" in parallel_figure([]).layout.annotations[0].text
    assert "No run has both" in heatmap_figure(grid([], C, RATE)).layout.annotations[0].text
    refused = importance_figure(Importances("test_accuracy", (), math.nan, 3, "Too few runs < 5."))
    assert "Too few runs &lt; 5." in refused.layout.annotations[0].text
    assert "At least two" in decomposition_figure(breakdown(APART, [])).layout.annotations[0].text


def test_parallel_coordinates_have_an_axis_for_each_setting_that_varies():
    figure = parallel_figure(MIXED)
    (lines,) = figure.data
    labels = [axis.label for axis in lines.dimensions]
    assert labels == ["Noise multiplier σ", "Epochs E", "ε spent", "Test accuracy"] or labels[-2:] == [
        "ε spent",
        "Test accuracy",
    ]
    spent = lines.dimensions[-2]
    assert spent.ticktext[-1] == "∞" and spent.values[-1] == max(spent.values) == spent.tickvals[-1]
    assert 10 ** spent.values[0] == pytest.approx(1.0)
    assert list(lines.dimensions[-1].values) == [run.metric("test_accuracy") for run in MIXED]
    assert "1 imported" in below(figure)
    some = [fact(f"p{i}", settings={"training.optimizer": "adam" if i else "sgd"}) for i in range(2)]
    chosen = parallel_figure(some, paths=["training.optimizer", "training.momentum"]).data[0].dimensions
    assert list(chosen[0].ticktext) == ["SGD with momentum", "Adam"] and list(chosen[1].ticktext) == ["–", "0.9"]
    with pytest.raises(KeyError):
        parallel_figure(some, paths=["momentum"])


def test_more_axes_than_can_be_read_are_not_drawn():
    paths = [
        "training.learning_rate", "training.epochs", "training.batch_size", "training.momentum", "training.ema_decay",
        "privacy.max_grad_norm", "privacy.delta", "training.augmentations", "model.name", "data.dataset", "privacy.bands",
    ]  # fmt: skip
    assert len(parallel_figure([fact("a"), fact("b")], paths=paths).data[0].dimensions) == MOST_AXES


def test_importance_has_the_largest_bar_above():
    found = Importances(
        "epsilon",
        (Importance("a.b", "First", 0.8, 0.1, 3), Importance("c.d", "Second", 0.1, 0.01, 2)),
        0.9,
        40,
    )
    (bars,) = importance_figure(found).data
    assert (
        list(bars.y) == ["Second", "First"] and list(bars.x) == [0.1, 0.8] and list(bars.error_x.array) == [0.01, 0.1]
    )
    figure = importance_figure(found)
    assert "R² 0.90" in below(figure) and Release.RELEASED.value in below(figure)


def test_open_cells_are_outlined_and_hold_the_pair_to_launch():
    cells, open_ = heatmap_figure(grid(RUNS, C, RATE)).data
    assert cells.text.tolist() == [["85.0 %", "70.0 %"], ["", "60.0 %"]] and math.isnan(cells.z[1][0])
    assert [list(pair) for pair in open_.customdata] == [[0.1, 0.4]] and open_.marker.symbol == "square-open"
    figure = heatmap_figure(grid(RUNS, C, RATE))
    assert figure.layout.xaxis.title.text == "Clipping bound C (L2 norm)" and Release.TEST_DATA.value in below(figure)
    down = [fact("x", metrics={"test_loss": 0.5}), fact("y", metrics={"test_loss": 0.4}, settings={C: 2.0})]
    assert heatmap_figure(grid(down, C, RATE, "test_loss")).data[0].reversescale


def test_a_cell_is_known_by_its_key_and_the_chosen_one_is_framed():
    found = grid(RUNS, C, RATE)
    figure = heatmap_figure(found, chosen="1.0~0.4")
    cells, open_ = figure.data
    assert [list(row) for row in cells.ids] == [["0.1~0.2", "1.0~0.2"], ["0.1~0.4", "1.0~0.4"]]
    assert list(open_.ids) == ["0.1~0.4"]
    assert cells.customdata[0][0] == "2 runs" and cells.customdata[0][1] == "1 run"
    (frame,) = figure.layout.shapes
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (0.5, 1.5, 0.5, 1.5)
    assert not heatmap_figure(found, chosen="nosuch").layout.shapes and not heatmap_figure(found).layout.shapes
    assert tuple(figure.layout.xaxis.range) == (-0.5, 1.5)


def test_the_waterfall_goes_from_level_to_level():
    found = breakdown(APART, finished())
    figure = decomposition_figure(found, found.notes)
    bars = figure.data[0]
    ends = np.array(bars.base) + np.array(bars.y)
    means = [level.mean for level in found.levels.values()]
    assert ends.tolist() == pytest.approx([*means, means[-1]])
    assert list(bars.base[1:-1]) == pytest.approx(means[:-1])
    blue, orange, grey = bars.marker.color[0], bars.marker.color[3], bars.marker.color[2]
    # The gain of Poisson batches cannot be told from chance; clipping's loss can.
    assert len({blue, orange, grey}) == 3 and "cannot be told from chance" in bars.customdata[2]
    assert figure.data[1].text[3] == "−4.20" and figure.data[1].text[0] == "95.00 %"
    assert "ε = 2.99" in below(figure) and "3 seeds each" in below(figure)
    assert "training as usual 0.05" in figure.layout.annotations[0].text
    single = decomposition_figure(breakdown(APART, finished(1)))
    assert "one run on a side" in single.data[0].customdata[1] and set(single.data[0].error_y.array) == {0.0}
