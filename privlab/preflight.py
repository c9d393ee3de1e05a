"""The one gate before a launch: settings in, a plan and the facts out, or every problem at once. Torch-free."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from privlab.config import ConfigError, Problem, RunConfig
from privlab.data.catalogue import DATASETS, RECORDS_OF_A_USER, DatasetFacts, availability
from privlab.data.own import is_own, missing
from privlab.data.secrets import ONE_IN
from privlab.data.weights import weights_missing, weights_ready
from privlab.encryption import modes
from privlab.models.catalogue import MODELS, misfit, part_misfit
from privlab.models.facts import ADAPTERS, PRETRAINED, ModelFacts
from privlab.models.sizes import parameters
from privlab.privacy.owners import LEAST_SHARE, share_on_grid
from privlab.privacy.plan import PrivacyPlan
from privlab.privacy.planning import make_plan

#: Device files of the drivers that PyTorch's ``cuda`` works with: NVIDIA, NVIDIA under WSL, AMD.
_CUDA_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
#: Least chance that a step with simulated drop-outs succeeds.
_LEAST_CHANCE = 0.01


@dataclass(frozen=True)
class Preflight:
    """Settings that fit together, with what follows from them."""

    config: RunConfig
    plan: PrivacyPlan
    dataset: DatasetFacts
    model: ModelFacts

    @property
    def trains(self) -> str:
        """Which part of the model trains: what was chosen, or what is usual for it."""
        return part_trained(self.model.key, self.config.model.trains)

    @property
    def gradient_method(self) -> str:
        """``one-pass``, ``hooks`` or ``ghost``: what was chosen, or one-pass, which is the quickest and can do everything."""
        chosen = self.config.performance.gradient_method
        return "one-pass" if chosen == "auto" else chosen


def part_trained(model: str, chosen: str) -> str:
    """The part of ``model`` that trains where ``chosen`` may be ``auto``. Raises KeyError for an unknown model."""
    return MODELS[model].trains[0] if chosen == "auto" else chosen


def trained_parameters(config: RunConfig) -> int:
    """How many parameters train.

    Raises:
        KeyError, ValueError: unknown model or data set, or they do not go together; an added model that is not on this machine is
            unknown.
    """
    chosen = config.model
    return parameters(chosen.name, config.data.dataset, part_trained(chosen.name, chosen.trains), chosen.lora_rank)


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
        problems.append(_unknown_model(config.model.name))
    if dataset and model:
        reason = misfit(config.model.name, config.data.dataset)
        if reason:
            problems.append(Problem("model.name", f"model={model.key} does not fit data set {dataset.key}: {reason}"))
        problems += _augmentation_problems(config, dataset, model)
        problems += _secret_problems(config, dataset)
        problems += _user_problems(config, dataset)
    if model:
        problems += _part_problems(config, model)
    problems += _combination_problems(config)
    problems += _owner_problems(config)
    if reason := _absent(config.performance.device):
        problems.append(Problem("performance.device", reason))
    plan = None
    if dataset:
        try:
            fits = model is not None and not misfit(model.key, dataset.key) and not _part_problems(config, model)
            dimension = trained_parameters(config) if fits else 1
            units = dataset.units(config.data.unit)
            if units:
                problems += _store_problems(config, dimension, units)
                plan = make_plan(config, units, dimension)
                problems += _share_problems(config, plan)
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    assert plan is not None and dataset is not None and model is not None
    return Preflight(config, plan, dataset, model)


def missing_inputs(dataset: str, model: str) -> list[Problem]:
    """What a training would read and this machine does not have: records, weights. Looks at the disk, never at the network."""
    problems = []
    if dataset in DATASETS and not (found := availability(dataset)).ready:
        problems.append(Problem("data.dataset", found.message))
    weights = MODELS[model].weights if model in MODELS else None
    if weights and not weights_ready(weights):
        problems.append(Problem("model.name", weights_missing(weights)))
    return problems


def _part_problems(config: RunConfig, model: ModelFacts) -> list[Problem]:
    """Why the part that is to train is none of the model's, or what the model needs is not installed."""
    found = []
    part = part_trained(model.key, config.model.trains)
    if reason := part_misfit(model.key, part):
        found.append(Problem("model.trains", f"trains={config.model.trains}: {reason}"))
    wanted = [
        ("model.name", f"model={model.key}", PRETRAINED if model.weights else ()),
        ("model.trains", f"trains={part}", (ADAPTERS,) if part == "lora" else ()),
    ]
    for path, what, packages in wanted:
        if missing := [package for package in packages if find_spec(package) is None]:
            found.append(
                Problem(
                    path,
                    f"{what} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: run “pip "
                    "install -r requirements-language.txt” and start PrivLab again.",
                )
            )
    return found


def _secret_problems(config: RunConfig, dataset: DatasetFacts) -> list[Problem]:
    data = config.data
    if not data.secrets:
        return []
    if dataset.task != "language":
        return [
            Problem(
                "data.secrets",
                f"secrets={data.secrets} has no meaning here: {dataset.title} is no text that a model goes on with; choose 0.",
            )
        ]
    written, most = data.secrets * data.secret_repeats, dataset.train_records // ONE_IN
    if written > most:
        return [
            Problem(
                "data.secrets",
                f"secrets={data.secrets} × secret_repeats={data.secret_repeats} would replace {written:,} of the training records; "
                f"at most a tenth, {most:,}, may be.",
            )
        ]
    able = sum(min(count, RECORDS_OF_A_USER) >= data.secret_repeats for count in dataset.busiest)
    if dataset.users and data.secrets > able:
        return [
            Problem(
                "data.secret_repeats",
                f"secret_repeats={data.secret_repeats} with secrets={data.secrets}: each secret stands in the records of another "
                f"user, and {able} users have room for so many (of one user {RECORDS_OF_A_USER} records at most are trained on).",
            )
        ]
    return []


def _user_problems(config: RunConfig, dataset: DatasetFacts) -> list[Problem]:
    if config.data.unit == "record" or dataset.users:
        return []
    return [
        Problem(
            "data.unit",
            f"unit={config.data.unit} has no meaning here: whose records these are is not known of {dataset.title}; choose record.",
        )
    ]


def method_misfit(config: RunConfig, method: str) -> str | None:
    """Why gradient method ``method`` cannot do what ``config`` asks, whichever it chooses itself; None where it can."""
    if method == "ghost" and (reason := _beyond_ghost(config)):
        return f"{reason}, and ghost clipping forms no gradients"
    if method in ("hooks", "ghost") and config.performance.precision != "float32":
        return f"with precision={config.performance.precision} it would measure norms in 16 bits"
    return None


def _beyond_ghost(config: RunConfig) -> str | None:
    """Why ghost clipping cannot do what is asked: it knows one norm a record, and no gradient."""
    if config.privacy.clipping == "per-layer":
        return "clipping=per-layer weighs each layer by itself"
    if config.training.augmentations > 1 and config.privacy.clipping != "none":
        return f"augmentations={config.training.augmentations} averages gradients before clipping"
    if config.data.unit == "user" and config.privacy.clipping != "none":
        return "unit=user averages gradients before clipping"
    return None


def _combination_problems(config: RunConfig) -> list[Problem]:
    found = []
    if config.performance.gradient_method == "ghost" and (reason := _beyond_ghost(config)):
        found.append(
            Problem(
                "performance.gradient_method",
                f"gradient_method=ghost does not go with this: {reason}, and ghost clipping forms no gradients; choose auto.",
            )
        )
    if config.performance.precision != "float32" and config.performance.gradient_method in ("hooks", "ghost"):
        found.append(
            Problem(
                "performance.precision",
                f"precision={config.performance.precision} does not go with gradient_method={config.performance.gradient_method}, "
                "which would measure norms in 16 bits; choose auto or one-pass.",
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


def _store_problems(config: RunConfig, dimension: int, records: int) -> list[Problem]:
    """Why a mode of encryption does not go with the model, the optimiser or the number of owners."""
    encryption, optimizer = config.encryption, config.training.optimizer
    if reason := modes.misfit(encryption.mode, dimension, 1, optimizer):
        return [Problem("encryption.mode", f"mode={encryption.mode}: {reason}")]
    # Under masks the store gets one update, made from the sum, however many owners there are.
    contributors = 1 if encryption.masks else encryption.owners
    if reason := modes.misfit(encryption.mode, dimension, contributors, optimizer):
        return [Problem("encryption.owners", f"owners={encryption.owners}: {reason}")]
    if encryption.owners > records:
        return [
            Problem("encryption.owners", f"owners={encryption.owners} is more than the {records:,} training records.")
        ]
    return []


def _owner_problems(config: RunConfig) -> list[Problem]:
    """Why several owners do not go with other choices."""
    encryption, privacy, n = config.encryption, config.privacy, config.encryption.sharing_owners
    if n == 1:
        return []
    clashes = {
        "clipping=adaptive": (
            privacy.clipping == "adaptive",
            "the owners would have to sum their counts privately too",
        ),
        f"bands={privacy.bands}": (privacy.bands > 1, "only independent noise is made in shares"),
        "protection=rounded": (privacy.protection == "rounded", "rounded shares do not add up to rounded noise"),
        "sampling=shuffled": (privacy.sampling == "shuffled", "each owner draws its own part of a batch by coin flips"),
    }
    found = [
        Problem("encryption.owners", f"owners={n} with {what}: {why}; choose one owner, or change the other setting.")
        for what, (there, why) in clashes.items()
        if there
    ]
    if not encryption.masks:
        return found
    most = (n - 1) // 2
    if encryption.dropouts > most:
        found.append(
            Problem(
                "encryption.dropouts",
                f"dropouts={encryption.dropouts} is more than {most}: more than half of the {n} owners must stay, or whoever "
                "sums could play two halves off against each other.",
            )
        )
    elif encryption.dropout_rate:
        rate, d = encryption.dropout_rate, encryption.dropouts
        chance = sum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(d + 1))
        if chance < _LEAST_CHANCE:
            found.append(
                Problem(
                    "encryption.dropout_rate",
                    f"dropout_rate={rate:g} with {n} owners of whom {d} may drop out lets a step succeed once in "
                    f"{1 / chance:,.0f} tries; it must succeed once in {1 / _LEAST_CHANCE:.0f}.",
                )
            )
    return found


def _share_problems(config: RunConfig, plan: PrivacyPlan) -> list[Problem]:
    """Whether each owner's share of the noise stands out from the grid that it is rounded to."""
    if plan.owners == 1 or not plan.is_private or plan.rounded or plan.adaptive:
        return []
    # Under masks owners send gradients, else updates.
    steps = share_on_grid(plan, 1.0 if config.encryption.masks else config.training.learning_rate)
    if steps >= LEAST_SHARE:
        return []
    return [
        Problem(
            "encryption.owners",
            f"owners={plan.owners}: each owner's share of the noise is only {steps:.3g} steps of the fixed-point grid long, and "
            f"rounding would count from {LEAST_SHARE:g} down; take fewer owners, more noise or a larger learning rate.",
        )
    ]


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


def _unknown_model(name: str) -> Problem:
    return Problem("model.name", missing(name)) if is_own(name) else _unknown("model.name", name, MODELS)


def _unknown(path: str, value: str, known: Iterable[str]) -> Problem:
    return Problem(path, f"{path.split('.')[0]}={value!r} is unknown; choose one of {', '.join(known)}.")
