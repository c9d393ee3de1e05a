"""The one gate before a launch: settings in, a plan and the facts out, or every problem at once. Torch-free."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from privlab.config import ConfigError, Problem, RunConfig
from privlab.data.catalogue import DATASETS, DatasetFacts
from privlab.models.catalogue import MODELS, ModelFacts, misfit
from privlab.privacy.plan import PrivacyPlan, make_plan

#: Device files of the drivers that PyTorch's ``cuda`` works with: NVIDIA, NVIDIA under WSL, AMD.
_CUDA_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


@dataclass(frozen=True)
class Preflight:
    """Settings that fit together, with what follows from them."""

    config: RunConfig
    plan: PrivacyPlan
    dataset: DatasetFacts
    model: ModelFacts


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
    if reason := _absent(config.performance.device):
        problems.append(Problem("performance.device", reason))
    plan = None
    if dataset:
        try:
            plan = make_plan(config, dataset.train_records)
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    assert plan is not None and dataset is not None and model is not None
    return Preflight(config, plan, dataset, model)


def _absent(device: str) -> str | None:
    """Why ``device`` cannot be there, by its driver alone; whether this PyTorch can use it shows when the run starts."""
    if device == "cuda" and sys.platform == "linux" and not any(Path(file).exists() for file in _CUDA_FILES):
        return "device=cuda is not on this machine: it has no GPU driver. Choose auto or cpu."
    if device == "mps" and not (sys.platform == "darwin" and platform.machine() == "arm64"):
        return "device=mps is not on this machine: it needs an Apple processor. Choose auto or cpu."
    return None


def _unknown(path: str, value: str, known: dict) -> Problem:
    return Problem(path, f"{path.split('.')[0]}={value!r} is unknown; choose one of {', '.join(known)}.")
