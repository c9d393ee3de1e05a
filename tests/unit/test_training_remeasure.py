"""A point measured again from its checkpoint is the point that was lost, as far as weights can tell."""

from __future__ import annotations

import pytest

from privlab.config import RunConfig
from privlab.metrics import Point
from privlab.training.checkpoint import Checkpoint, CheckpointError
from privlab.training.remeasure import measured_again
from privlab.training.train import train

SMALL = RunConfig.from_dict(
    {
        "model": {"name": "logistic"},
        "privacy": {"noise_multiplier": 2.0, "delta": 1e-4},
        "training": {"batch_size": 200, "epochs": 1, "curve_points": 3},
        "performance": {"device": "cpu"},
    }
)
WITHOUT_PRIVACY = SMALL.replace(privacy__clipping="none", privacy__noise_multiplier=0.0)


@pytest.mark.parametrize(
    "config",
    [SMALL, SMALL.replace(training__ema_decay=0.9), WITHOUT_PRIVACY],
    ids=["private", "averaged weights", "without privacy"],
)
def test_it_is_the_point_that_was_lost(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    # The last point is of all test records, the others of some.
    monkeypatch.setattr("privlab.training.trainer.SUBSET", 100)
    kept: list[Checkpoint] = []
    points = [item for item in train(config, save=kept.append) if isinstance(item, Point)]
    assert len(points) == len(kept) == 3
    for lost, checkpoint in zip(points, kept, strict=True):
        found = measured_again(config, Checkpoint.from_bytes(checkpoint.to_bytes()))
        assert (found.step, found.epoch, found.seconds) == (lost.step, lost.epoch, lost.seconds)
        assert found.epsilon == (lost.epsilon and pytest.approx(lost.epsilon, abs=1e-3))
        assert found.metrics == {key: pytest.approx(lost.metrics[key]) for key in ("test_accuracy", "test_loss")}


def test_a_checkpoint_of_another_guarantee_is_refused() -> None:
    kept: list[Checkpoint] = []
    next(item for item in train(SMALL, save=kept.append) if isinstance(item, Point))
    with pytest.raises(CheckpointError):
        measured_again(SMALL.replace(privacy__noise_multiplier=1.5), kept[0])
