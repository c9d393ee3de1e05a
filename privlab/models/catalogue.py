"""Which models there are, those that PrivLab brings and those that were added, and what goes with what. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import TypeVar

from privlab.data import own
from privlab.data.catalogue import DATASETS
from privlab.models.added import added_facts
from privlab.models.facts import BROUGHT, BROUGHT_FORMS, ModelFacts
from privlab.models.forms import Transformer

_Facts = TypeVar("_Facts")


class _Known(Mapping[str, _Facts]):
    """What PrivLab brings, then what was added on this machine, which is looked up whenever it is asked for."""

    def __init__(self, brought: Mapping[str, _Facts], added: Callable[[], Mapping[str, _Facts]]) -> None:
        self._brought, self._added = brought, added

    def __getitem__(self, key: str) -> _Facts:
        return (self._added() if own.is_own(key) else self._brought)[key]

    def __iter__(self) -> Iterator[str]:
        return chain(self._brought, self._added())

    def __len__(self) -> int:
        return len(self._brought) + len(self._added())


#: Every model by its key; those that were added on this machine come last.
MODELS: Mapping[str, ModelFacts] = _Known(BROUGHT, lambda: added_facts()[0])
#: Sizes of those that are transformers.
TRANSFORMERS: Mapping[str, Transformer] = _Known(BROUGHT_FORMS, lambda: added_facts()[1])
#: Records of each kind and task, in words.
_RECORDS = {
    ("image", "classify"): "pictures",
    ("table", "classify"): "rows of a table",
    ("text", "classify"): "texts that have a class",
    ("text", "language"): "texts to go on with",
}


def misfit(model_key: str, dataset_key: str) -> str | None:
    """Why the model cannot be trained on the data set, as a sentence, or None if it can.

    Raises:
        KeyError: unknown model or data set.
    """
    model, data = MODELS[model_key], DATASETS[dataset_key]
    if data.kind not in model.kinds or data.task != model.task:
        wanted = " or ".join(_RECORDS[kind, model.task] for kind in model.kinds)
        usual = {other.usual for other in MODELS.values()}
        fit = [
            key
            for key, other in MODELS.items()
            if data.kind in other.kinds and other.task == data.task and key not in usual
        ]
        return f"{model.title} needs {wanted}, but {data.title} holds {_RECORDS[data.kind, data.task]}; choose {' or '.join(fit)}."
    if data.kind == "image" and min(data.shape[1:]) < model.min_side:
        height, width = data.shape[1:]
        return (
            f"{model.title} needs pictures of at least {model.min_side}×{model.min_side} pixels, "
            f"but {data.title} has {height}×{width}; choose logistic or mlp."
        )
    return None


def part_misfit(model_key: str, trains: str) -> str | None:
    """Why this part of the model cannot be trained by itself, as a sentence, or None if it can. Raises KeyError: unknown model."""
    model = MODELS[model_key]
    if trains in model.trains:
        return None
    return f"{model.title} cannot train “{trains}”; choose one of {', '.join(model.trains)}."
