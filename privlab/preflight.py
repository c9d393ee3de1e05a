"""The one gate before a launch: settings in, a plan and the facts out, or every problem at once. Torch-free."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from privlab.config import ConfigError, Problem, RunConfig
from privlab.data.catalogue import DATASETS, DatasetFacts
from privlab.models.catalogue import MODELS, ModelFacts, misfit, parameters
from privlab.privacy.plan import PrivacyPlan
from privlab.privacy.planning import make_plan

#: Device files of the drivers that PyTorch's ``cuda`` works with: NVIDIA, NVIDIA under WSL, AMD.
_CUDA_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


@dataclass(frozen=True)
class Preflight:
    """Settings that fit together, with what follows from them."""

    config: RunConfig
    plan: PrivacyPlan
    dataset: DatasetFacts
    model: ModelFacts

    @property
    def gradient_method(self) -> str:
        """``hooks`` or ``ghost``: what was chosen, or what suits the model and the clipping."""
        chosen = self.config.performance.gradient_method
        if chosen != "auto":
            return chosen
        return "hooks" if _needs_hooks(self.config) else self.model.gradient_method


def preflight(config: RunConfig) -> Preflight:
    """Check ``config`` against the data and model catalogues and build its privacy plan.

    No file is read and nothing is stored, so this may run at every keystroke.

    Raises:
        ConfigError: every problem found, each with the path of its setting.
    """
    problems: list[Problem] = []
    dataset = DATASETS.get(config.data.dataset)
    model = MODELS.get(config.model.name)
    if dataset is None:
        problems.append(_unknown("data.dataset", config.data.dataset, DATASETS))
    if model is None:
        problems.append(_unknown("model.name", config.model.name, MODELS))
    if dataset and model:
        reason = misfit(config.model.name, config.data.dataset)
        if reason:
            problems.append(Problem("model.name", f"model={model.key} does not fit data set {dataset.key}: {reason}"))
        problems += _augmentation_problems(config, dataset, model)
    problems += _combination_problems(config)
    if reason := _absent(config.performance.device):
        problems.append(Problem("performance.device", reason))
    plan = None
    if dataset:
        try:
            fits = model is not None and not misfit(model.key, dataset.key)
            plan = make_plan(config, dataset.train_records, parameters(model.key, dataset.key) if fits else 1)
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    assert plan is not None and dataset is not None and model is not None
    return Preflight(config, plan, dataset, model)


def _needs_hooks(config: RunConfig) -> str | None:
    """Why ghost clipping cannot do what is asked: it knows one norm a record, and no gradient."""
    if config.privacy.clipping == "per-layer":
        return "clipping=per-layer weighs each layer by itself"
    if config.training.augmentations > 1 and config.privacy.clipping != "none":
        return f"augmentations={config.training.augmentations} averages gradients before clipping"
    return None


def _combination_problems(config: RunConfig) -> list[Problem]:
    found = []
    if config.performance.gradient_method == "ghost" and (reason := _needs_hooks(config)):
        found.append(
            Problem(
                "performance.gradient_method",
                f"gradient_method=ghost does not go with this: {reason}, and ghost clipping forms no gradients; choose auto.",
            )
        )
    if config.training.optimizer == "adam-bc" and config.privacy.bands > 1:
        found.append(
            Problem(
                "training.optimizer",
                f"optimizer=adam-bc with bands={config.privacy.bands}: the correction is for independent noise; choose adam.",
            )
        )
    return found


def _augmentation_problems(config: RunConfig, dataset: DatasetFacts, model: ModelFacts) -> list[Problem]:
    count = config.training.augmentations
    if count == 1:
        return []
    if dataset.kind != "image":
        why = f"{dataset.title} holds no pictures that could be shifted"
    elif model.features:
        why = f"{model.title} sees fixed features of the pictures, which are computed once"
    else:
        return []
    return [Problem("training.augmentations", f"augmentations={count} has no meaning here: {why}; choose 1.")]


def _absent(device: str) -> str | None:
    """Why ``device`` cannot be there, by its driver alone; whether this PyTorch can use it shows when the run starts."""
    if device == "cuda" and sys.platform == "linux" and not any(Path(file).exists() for file in _CUDA_FILES):
        return "device=cuda is not on this machine: it has no GPU driver. Choose auto or cpu."
    if device == "mps" and not (sys.platform == "darwin" and platform.machine() == "arm64"):
        return "device=mps is not on this machine: it needs an Apple processor. Choose auto or cpu."
    return None


def _unknown(path: str, value: str, known: dict) -> Problem:
    return Problem(path, f"{path.split('.')[0]}={value!r} is unknown; choose one of {', '.join(known)}.")
