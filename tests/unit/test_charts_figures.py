"""What the figures show, and that they do so in Plotly's own terms (a figure refuses unknown attributes)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest

from privlab.charts.budget import budget_figure
from privlab.charts.compare import Curve, overlay_figure
from privlab.charts.live import (
    TILES,
    Level,
    Mark,
    Panel,
    compare_panels,
    lab_panels,
    level_name,
    reference_marks,
    run_panels,
    settings_line,
)
from privlab.charts.style import styles
from privlab.data.references import references
from privlab.metrics import METRICS, PHASES, Release
from privlab.privacy import PrivacyPlan

PLAN = PrivacyPlan(6000, 256, 235, 1.1, 1.5, 1e-5)
BARE = PrivacyPlan(6000, 256, 235, 0.0, None, 1e-5)


def curve(run_id: str, n: int = 50, private: bool = True, label: str = "") -> Curve:
    step = np.arange(1, n + 1)
    return Curve(
        run_id,
        label or run_id,
        {
            "step": step,
            "epoch": step / 10,
            "seconds": step / 5,
            "epsilon": np.sqrt(step) if private else np.full(n, np.nan),
            "test_accuracy": 1 - 1 / (1 + step),
        },
        settings_line(PLAN),
    )


# The live panel's specifications -----------------------------------------------------------------------------------------


def test_every_panel_says_its_release_class_and_travels_as_json():
    for panel in (*lab_panels(), *compare_panels(), *run_panels(PLAN)):
        sent = orjson.loads(orjson.dumps(panel.to_dict()))
        assert sent["releases"]
        assert [r["name"] for r in sent["releases"]] == list(
            dict.fromkeys(METRICS[m["key"]].release.value for m in sent["metrics"])
        )
    assert all(orjson.loads(orjson.dumps(tile.to_dict()))["release"] for tile in TILES)


def test_a_run_is_shown_from_every_measured_side():
    panels = {panel.key: panel for panel in run_panels(PLAN)}
    shown = {metric for panel in panels.values() for metric in panel.metrics}
    assert {"test_accuracy", "test_loss", "train_loss", "clipped_share", "snr", "batch_size", "grad_norm_p50"} <= shown
    assert panels["phases"].metrics == tuple(f"time_{phase}" for phase in PHASES)
    assert Release.PRIVATE in panels["loss"].releases
    assert panels["norms"].levels == (Level(1.5, "C = 1.5"),)
    assert panels["batches"].levels == (Level(256.0, "expected B = 256"),)
    assert {panel.key: panel for panel in run_panels(BARE)}["norms"].levels == ()


def test_language_is_shown_by_its_perplexity_which_goes_down():
    (panel,) = lab_panels(["language", "language"])
    assert panel.metrics == ("test_perplexity",) and "lower is better" in panel.y_title and panel.log_y and panel.level
    assert not panel.percent and not panel.marks
    assert [panel.key for panel in lab_panels(["language", "classify"])] == ["accuracy", "perplexity"]
    assert [panel.key for panel in compare_panels(["language", "classify"])] == ["compare", "perplexity"]
    assert compare_panels(["language"])[0].metrics == ("test_perplexity",)
    assert run_panels(PLAN, "language")[0].metrics == ("test_perplexity",)
    assert [panel.key for panel in run_panels(PLAN, two_classes=True)][:2] == ["accuracy", "f1"]


def test_planted_secrets_have_a_chart_of_their_own():
    utility, exposure = lab_panels({"language", "secrets"})
    assert (utility.key, exposure.key) == ("perplexity", "exposure")
    assert exposure.sparse and exposure.x == "epoch" and exposure.to_dict()["sparse"]
    assert [round(level.value, 2) for level in exposure.levels] == [10, 1.44]
    keys = [panel.key for panel in run_panels(PLAN, "language", secrets=True)]
    assert keys[:3] == ["perplexity", "exposure", "recited"]
    assert "exposure" not in [panel.key for panel in run_panels(PLAN, "language")]


def test_a_figure_of_perplexity_says_its_direction():
    told = curve("a")
    told.columns["test_perplexity"] = 10 / told.columns["step"]
    figure = overlay_figure([told], metric="test_perplexity")
    assert figure.layout.yaxis.title.text == "Test perplexity (lower is better)" and figure.layout.yaxis.type == "log"
    np.testing.assert_allclose(figure.data[0].y, told.columns["test_perplexity"])


@pytest.mark.parametrize(
    ("changes", "named"), [({"metrics": ("nope",)}, "nope"), ({"metrics": ()}, "metrics"), ({"x": "time"}, "time")]
)
def test_a_panel_refuses_what_is_not_declared(changes, named):
    with pytest.raises(ValueError, match=named):
        Panel(**({"key": "k", "title": "t", "metrics": ("snr",)} | changes))


def test_settings_in_one_line():
    assert settings_line(PLAN) == "C = 1.5 · σ = 1.1 · B = 256 · q = 0.04267 · δ = 1e-05"
    assert settings_line(BARE).startswith("no clipping · σ = 0 ·")


def test_published_results_become_marks_with_source():
    marks = reference_marks(references("mnist"))
    assert len(marks) == len(references("mnist"))
    assert all(0 < m.value <= 1 and m.epsilon > 0 and m.source and "δ = 1e-05" in m.note for m in marks)


# Compare -----------------------------------------------------------------------------------------------------------------


def test_runs_over_one_another_with_references():
    figure = overlay_figure([curve("a"), curve("b")], [Mark(3.0, 0.9, "CNN", "Paper")])
    assert [trace.name for trace in figure.data] == ["a", "b", "Published results"]
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.title.subtitle.text == Release.TEST_DATA.value


def test_a_run_looks_the_same_beside_whichever_others():
    looks = styles(["first", "second", "third"])
    kept = replace(curve("third"), style=looks["third"])
    alone, last = overlay_figure([kept]).data[0], overlay_figure([curve("first"), kept]).data[1]
    assert alone.line == last.line
    assert (alone.line.color, alone.line.dash) == (looks["third"].colour, looks["third"].dash)


@pytest.mark.parametrize(("epsilon", "ticks"), [((0.05, 3.0), "D2"), ((2.4, 2.9), None)])
def test_a_wide_log_axis_is_labelled_at_1_2_and_5_and_a_narrow_one_without_minor_labels(epsilon, ticks):
    columns = {**curve("a").columns, "epsilon": np.linspace(*epsilon, 50)}
    axis = overlay_figure([replace(curve("a"), columns=columns)]).layout.xaxis
    assert axis.dtick == ticks
    assert ticks or axis.minorloglabels == "none"
    assert overlay_figure([curve("a")], log=False).layout.xaxis.dtick is None


def test_a_share_never_leaves_0_to_100_percent():
    free = overlay_figure([curve("free", private=False)]).layout
    assert (free.yaxis.autorangeoptions.clipmin, free.yaxis.autorangeoptions.clipmax) == (-0.01, 1.01)
    assert tuple(free.xaxis.range) == (-1, 1)


def test_a_level_says_its_name_and_infinity_once():
    assert level_name("digits") == "digits · ε = ∞"
    assert level_name("digits · ε = ∞") == "digits · ε = ∞"


def test_a_run_without_a_guarantee_is_a_level_on_the_epsilon_axis_alone():
    runs = [curve("a"), curve("free", private=False)]
    level = overlay_figure(runs).data[1]
    assert set(level.y) == {runs[1].columns["test_accuracy"][-1]}
    assert level.xaxis == "x2"
    assert [words for words in level.text if words] == ["free · ε = ∞"] == [level.name]
    line = overlay_figure(runs, x="step").data[1]
    assert len(line.x) == 50
    assert line.xaxis != "x2"


def test_a_long_run_is_thinned():
    (trace,) = overlay_figure([curve("a", 5001)], x="step").data
    assert len(trace.x) <= 2000
    assert trace.x[0] == 1
    assert trace.x[-1] == 5001


def test_references_belong_to_accuracy_against_epsilon():
    mark = [Mark(3.0, 0.9, "CNN")]
    assert len(overlay_figure([], mark).data) == 1
    assert len(overlay_figure([], mark, x="step").data) == 0
    assert len(overlay_figure([], mark, metric="test_loss").data) == 0


def test_names_cannot_smuggle_markup_in():
    figure = overlay_figure([curve("a", label="<b>x</b> & <a href='javascript:1'>y</a>")])
    assert figure.data[0].name.startswith("&lt;b&gt;x")
    assert "<b>x" not in figure.data[0].hovertemplate
    assert "<a" not in figure.data[0].hovertemplate


def test_a_run_without_the_metric_is_left_out():
    assert len(overlay_figure([curve("a")], metric="snr").data) == 0


@pytest.mark.parametrize("wrong", [{"x": "time"}, {"metric": "nope"}])
def test_unknown_axes_and_metrics_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        overlay_figure([curve("a")], **wrong)


# Budget ------------------------------------------------------------------------------------------------------------------


def test_the_budget_curve_with_its_target():
    figure = budget_figure([1, 2, 3], [0.5, 0.8, 1.0], target=1.0)
    assert list(figure.data[0].y) == [0.5, 0.8, 1.0]
    assert figure.layout.shapes[0].y0 == 1.0
    assert figure.layout.annotations[0].text == "target ε = 1"


def test_without_a_guarantee_the_budget_says_so():
    figure = budget_figure([1, 2], [np.inf, np.inf])
    assert not figure.data
    assert "ε = ∞" in figure.layout.annotations[0].text


def test_a_budget_needs_as_many_epochs_as_values():
    with pytest.raises(ValueError, match="3 epochs and 2 values"):
        budget_figure([1, 2, 3], [1, 2])
