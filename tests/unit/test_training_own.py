"""Models that somebody brought, trained privately from end to end; and their runs where the model is no longer there."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from privlab.config import ConfigError, RunConfig
from privlab.config.writing import WritingConfig
from privlab.data import own
from privlab.metrics import Point
from privlab.models.own import add
from privlab.reports import bundle
from privlab.reports.claim import claim
from privlab.reports.importing import import_bundle
from privlab.reports.verify import verify
from privlab.runs.files import weights_path
from privlab.runs.record import Run, RunEvent, Status
from privlab.runs.store import Store
from privlab.training.checkpoint import Checkpoint
from privlab.training.export import weights_file
from privlab.training.train import train
from privlab.training.writing import write
from tests import ownmodels


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))


def config(key: str, dataset: str, **more) -> RunConfig:
    return RunConfig.from_dict(
        {
            "data": {"dataset": dataset, "secrets": 2 if dataset == "sms-messages" else 0},
            "model": {"name": key},
            "privacy": {"target_epsilon": 8.0, "delta": 1e-4, "max_grad_norm": 1.0, **more},
            "training": {"batch_size": 256, "epochs": 1, "optimizer": "adam", "learning_rate": 0.01, "curve_points": 2},
        }
    )


def trained(config: RunConfig) -> tuple[Run, list[Point], list[RunEvent], bytes]:
    """The run as its store would have it, its points and events, and the last checkpoint."""
    points, events, saved = [], [], []
    for item in train(config, save=lambda checkpoint: saved.append(checkpoint.to_bytes())):
        if isinstance(item, Point):
            points.append(item)
        else:
            events.append(RunEvent(len(events), "abc", 1.0, item.kind, item.message, item.data))
    plan, last = Checkpoint.from_bytes(saved[-1]).plan, points[-1]
    run = Run("abc", "", Status.FINISHED, config, plan, 1.0, step=last.step, steps=plan.steps, epsilon=last.epsilon)
    return run, points, events, saved[-1]


@pytest.mark.parametrize("protection", ["none", "rounded"])
def test_a_bert_of_ones_own_learns_privately_and_its_run_outlives_it(tmp_path: Path, protection: str) -> None:
    key = add(str(ownmodels.folder(tmp_path / "Tiny BERT", "bert")))
    settings = config(key, "sms-spam", protection=protection)
    run, points, events, saved = trained(settings)
    assert points[-1].step == run.plan.steps == 16 and 0 < points[-1].epsilon <= 8
    assert points[-1].metrics["test_accuracy"] > 0.5
    held = Checkpoint.from_bytes(saved).weights
    assert held and all("lora" in name or name.startswith("head") for name in held), "what was brought is not released"

    said = {field.key: field.value for field in claim(run, events).fields}
    assert key in said["start"] and own.added()[key].sha256 in said["start"] and "from a folder" in said["start"]
    assert str(tmp_path) not in str(said), "a folder's path is not told"
    assert any("take" in condition and "public" in condition for condition in claim(run, events).reasons)

    whole = bundle(run, points, events)
    assert str(tmp_path).encode() not in unpacked(whole)
    own.remove(key)
    assert {field.key: field.value for field in claim(run, events).fields}["start"] == said["start"]
    for each in (whole, bundle(run, points, events)):
        found = verify(each, prv_seconds=0)
        if protection == "none":
            assert found.wrong == () and found.claimed == points[-1].epsilon
        else:
            # What rounding costs depends on the model's size, which nobody here knows.
            assert len(found.wrong) == 1 and key in found.wrong[0] and "add it again" in found.wrong[0]
    with pytest.raises(ConfigError, match=f"{key} .*is not on this machine: add it again from"):
        list(train(settings))


def unpacked(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return b"\n".join(archive.read(name) for name in archive.namelist())


def test_an_imported_run_says_what_it_began_from(tmp_path: Path) -> None:
    key = add(str(ownmodels.folder(tmp_path / "Tiny BERT", "bert")))
    run, points, events, _ = trained(config(key, "sms-spam"))
    said, content = claim(run, events), bundle(run, points, events)
    own.remove(key)
    store = Store()
    imported = import_bundle(store, content)
    found = claim(imported, store.events(imported.id))
    assert {f.key: f.value for f in found.fields}["start"] == {f.key: f.value for f in said.fields}["start"]
    assert any("weights that somebody added" in reason for reason in found.reasons)


def test_rounded_noise_is_checked_by_the_weights_in_the_bundle(tmp_path: Path) -> None:
    key = add(str(ownmodels.folder(tmp_path / "Tiny BERT", "bert")))
    run, points, events, saved = trained(config(key, "sms-spam", protection="rounded"))
    weights_path(run).write_bytes(weights_file(Checkpoint.from_bytes(saved)))
    whole = bundle(run, points, events)
    own.remove(key)
    assert verify(whole, prv_seconds=0).wrong == ()


def test_a_gpt2_of_ones_own_learns_privately_and_writes(tmp_path: Path) -> None:
    key = add(str(ownmodels.folder(tmp_path / "Tiny GPT-2", "gpt2")))
    settings = config(key, "sms-messages")
    _, points, events, saved = trained(settings)
    assert 0 < points[-1].epsilon <= 8 and points[-1].metrics["test_perplexity"] > 1
    assert {"exposure_max", "recited"} <= points[-1].metrics.keys()
    (begun,) = (event for event in events if "weights" in event.data)
    assert "Tiny GPT-2" in begun.message and begun.data["weights"]["sha256"] == own.added()[key].sha256
    asked = WritingConfig.from_dict({"prompt": "I am on ", "tokens": 10, "temperature": 0.0})
    once, again = ("".join(write(settings, saved, asked)) for _ in range(2))
    assert once and once == again
    assert "".join(write(settings, saved, asked.model_copy(update={"beams": 2})))
    own.remove(key)
    with pytest.raises(ConfigError, match=f"{key} .*is not on this machine"):
        list(write(settings, saved, asked))
