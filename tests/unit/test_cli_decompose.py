"""``decompose``: real trainings, each once, and what they say."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from privlab.analysis.decomposition import STEPS
from privlab.cli import main

QUICK = ["--set", "training.epochs=3", "--set", "training.curve_points=2", "--seeds", "2"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)


def test_five_trainings_are_done_once_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chart = tmp_path / "chart.html"
    command = ["decompose", "digits", *QUICK, "--learning-rate", "plain=0.05", "--json", "--out", str(chart)]
    assert main(command) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    plans = [line for line in said if "sample_rate" in line]
    assert len(plans) == 10 and [plan["shuffled"] for plan in plans[:5]] == [True, True, False, False, False]
    levels = [line for line in said if "training" in line]
    assert [line["training"] for line in levels] == list(STEPS) and all(line["seeds"] == 2 for line in levels)
    costs = [line for line in said if "change" in line]
    assert [line["effect"] for line in costs] == pytest.approx(
        [after["mean"] - before["mean"] for before, after in pairwise(levels)]
    )
    points = [line for line in said if "step" in line and "test_accuracy" in line]
    assert {point["epsilon"] is None for point in points[:8]} == {True} and points[9]["epsilon"] > 0
    assert "What privacy costs" in chart.read_text("utf-8")
    # Said again, nothing is trained again.
    assert main(command) == 0
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert again == [line for line in said if "training" in line or "change" in line]
    assert main(["runs", "--json"]) == 0
    runs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(runs) == 10
    assert main(["show", next(run["id"] for run in runs if "as usual" in run["name"])]) == 0
    shown = capsys.readouterr().out
    assert "Claim: void" in shown and "every record once an epoch" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["decompose"], "name either a preset"),
        (["decompose", "digits", "--config", "x.toml"], "name either a preset"),
        (["decompose", "no-privacy"], "nothing to take apart"),
        (["decompose", "digits", "--seeds", "0"], "seeds=0 must be at least 1"),
        (["decompose", "digits", "--learning-rate", "0.1"], "TRAINING=RATE"),
        (["decompose", "digits", "--learning-rate", "clip=0.1"], "is no training"),
        (["decompose", "nothing"], "preset='nothing' is unknown"),
    ],
    ids=["none", "both", "public", "seeds", "form", "step", "preset"],
)
def test_refusals_are_sentences(arguments, words, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert words in capsys.readouterr().err
