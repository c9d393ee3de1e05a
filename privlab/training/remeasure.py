"""The point of a step that a checkpoint was kept of and whose own point was lost."""

from __future__ import annotations

from privlab.config import RunConfig
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.privacy import epsilon_curve
from privlab.training.checkpoint import Checkpoint
from privlab.training.device import choose_device
from privlab.training.exposure import summary
from privlab.training.inputs import inputs
from privlab.training.trainer import Trainer


def measured_again(config: RunConfig, checkpoint: Checkpoint) -> Point:
    """The point of the checkpoint's step, from its weights alone; what was seen during the step is gone.

    The weights are what the step released, so measuring them again costs no privacy.

    Raises:
        ConfigError, CheckpointError, DataMissing: as :func:`privlab.training.train.train`.
    """
    checked = preflight(config)
    trainer = Trainer(checked, inputs(config), choose_device(config.performance.device))
    trainer.restore(checkpoint)
    step, plan = checkpoint.step, checked.plan
    epsilon = float(epsilon_curve(plan, [step])[0]) if plan.is_private else None
    found = trainer.evaluate(everything=step == plan.steps).metrics | summary(trainer.exposures())
    return Point(step, step * plan.sample_rate, checkpoint.seconds, epsilon, found)
