"""The choice among equal ways: the quickest, kept between processes; never tried where a run must repeat."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from privlab.dpsgd.clipping import Clipping
from privlab.dpsgd.layers import kernels
from privlab.dpsgd.layers.kernels import FEWEST_RECORDS, TRIAL_RECORDS, Kernels, choose, using
from privlab.dpsgd.onepass import OnePassGradients
from tests.unit.test_dpsgd_gradients import make, records

CPU = torch.device("cpu")
SECONDS = {"a": 0.02, "b": 0.0, "c": 0.01}


class Trial:
    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, way: str) -> None:
        self.made.append(way)
        time.sleep(SECONDS[way])


def test_the_quickest_is_taken_and_tried_once() -> None:
    trial, found = Trial(), Kernels()
    assert found.choose("layer", CPU, list("abc"), trial) == "b"
    made = len(trial.made)
    assert made >= 6
    assert found.choose("layer", CPU, list("abc"), trial) == "b"
    assert len(trial.made) == made


def test_nothing_is_tried_where_there_is_no_choice_or_the_run_must_repeat() -> None:
    trial = Trial()
    assert Kernels().choose("layer", CPU, ["a"], trial) == "a"
    assert Kernels(measured=False).choose("layer", CPU, list("abc"), trial) == "a"
    assert trial.made == []


def test_findings_are_kept_between_processes(tmp_path: Path) -> None:
    file = tmp_path / "kernels.json"
    first, second, trial = Kernels(file), Kernels(file), Trial()
    first.choose("one", CPU, list("abc"), trial)
    second.choose("two", CPU, list("ac"), trial)
    made = len(trial.made)
    later = Kernels(file)
    assert later.choose("one", CPU, list("abc"), trial) == "b"
    assert later.choose("two", CPU, list("ac"), trial) == "c"
    assert len(trial.made) == made
    assert [entry.name for entry in tmp_path.iterdir()] == ["kernels.json"]


def test_findings_do_not_pass_for_those_of_other_threads_torch_or_layers(tmp_path: Path, monkeypatch) -> None:
    file, trial = tmp_path / "kernels.json", Trial()
    Kernels(file).choose("layer", CPU, list("ab"), trial)

    def tried(layer: str = "layer") -> bool:
        before = len(trial.made)
        Kernels(file).choose(layer, CPU, list("ab"), trial)
        return len(trial.made) > before

    assert not tried()
    assert tried("another")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert tried()
    monkeypatch.setattr(torch, "__version__", "99")
    assert tried()


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"x": 3}', "\x00\xff"])
def test_a_broken_file_is_as_good_as_none_and_mended(tmp_path: Path, text: str) -> None:
    file, trial = tmp_path / "kernels.json", Trial()
    file.write_text(text, "latin-1")
    assert Kernels(file).choose("layer", CPU, list("abc"), trial) == "b"
    assert list(json.loads(file.read_text()).values()) == ["b"]


def test_a_finding_that_is_no_way_of_the_layer_is_not_believed(tmp_path: Path) -> None:
    file, trial = tmp_path / "kernels.json", Trial()
    Kernels(file).choose("layer", CPU, list("abc"), trial)
    file.write_text(file.read_text().replace('"b"', '"../etc"'))
    assert Kernels(file).choose("layer", CPU, list("abc"), trial) == "b"


def test_a_folder_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    assert Kernels(tmp_path / "none" / "kernels.json").choose("layer", CPU, list("abc"), Trial()) == "b"


def test_a_way_that_does_not_fit_into_memory_is_not_taken() -> None:
    def trial(way: str) -> None:
        if way == "b":
            raise torch.OutOfMemoryError("of a test")
        time.sleep(SECONDS[way])

    assert Kernels().choose("layer", CPU, list("abc"), trial) == "c"


def test_trials_are_of_few_records_and_those_of_a_tiny_batch_are_not_kept() -> None:
    seen = []

    def trial(way: str, records: int) -> None:
        seen.append(records)

    with using(Kernels()):
        assert choose("layer", CPU, ["a", "b"], FEWEST_RECORDS - 1, trial) == "a"
        assert seen == []
        choose("layer", CPU, ["a", "b"], 10 * TRIAL_RECORDS, trial)
        assert set(seen) == {TRIAL_RECORDS}
    assert choose("other", CPU, ["a", "b"], 100, trial) == "a"


def few_places() -> nn.Module:
    """Four places and a kernel of 16×18: both ways are near."""
    return nn.Sequential(nn.Conv2d(2, 16, 3, stride=2), nn.Flatten(), nn.Linear(64, 3))


def test_training_tries_only_where_it_may(monkeypatch) -> None:
    """With findings a model's layers choose; without them they do not, and the sums agree."""
    tried = []
    honest = kernels._quickest
    monkeypatch.setattr(
        kernels, "_quickest", lambda device, ways, trial: tried.append(ways) or honest(device, ways, trial)
    )
    x, y = records(20)
    sums = []
    for chosen in (None, Kernels()):
        gradients = OnePassGradients(make(few_places), 0.5, Clipping(), 1, torch.float32, chosen)
        gradients.differentiate(x, y)
        gradients.clip()
        sums.append(torch.cat([p.grad.flatten() for p in gradients.parameters]))
        assert bool(tried) == (chosen is not None)
    torch.testing.assert_close(*sums)
