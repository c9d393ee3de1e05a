"""Weights that a model starts from, as they were fetched or added. Nothing is unpickled and nothing is asked of a network."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from privlab.data.load import DataMissing
from privlab.data.own import is_own, origin
from privlab.data.weightfiles import CONFIG, TENSORS, is_sound
from privlab.data.weights import weights_folder, weights_missing, weights_ready, weights_title
from privlab.models.configfile import Unsupported
from privlab.models.families import Described, describe
from privlab.models.tensors import HEAD, stored_names


def packaged(key: str, name: str) -> Path:
    """A file of fetched or added weights.

    Raises:
        KeyError: unknown weights.
        DataMissing: not on this machine.
    """
    if not weights_ready(key):
        raise DataMissing(weights_missing(key))
    return weights_folder(key) / name


def described(key: str) -> Described:
    """What the model's config.json says. Raises KeyError, DataMissing."""
    try:
        return describe(json.loads(packaged(key, CONFIG).read_bytes()))
    except (OSError, ValueError, Unsupported) as error:
        raise _damaged(key, str(error)) from error


def load_packaged(model: nn.Module, key: str) -> None:
    """Give ``model`` the weights of its names; what the package holds besides is left.

    Raises:
        KeyError: unknown weights.
        DataMissing: not on this machine, damaged, or not of this model.
    """
    # A run's settings name the content of an added model, so it is looked at each time.
    if is_own(key) and weights_ready(key) and not is_sound(weights_folder(key)):
        raise _damaged(key, "its files are not what was added")
    try:
        model.load_state_dict(_tensors(key, model.state_dict()))
    except RuntimeError as error:
        raise _damaged(key, str(error)) from error


def packaged_head(key: str) -> Tensor:
    """The head of a language model that is not its table of tokens, (V, width). Raises as :func:`load_packaged`."""
    return _tensors(key, [HEAD])[HEAD]


def _tensors(key: str, names: Iterable[str]) -> dict[str, Tensor]:
    try:
        with safe_open(packaged(key, TENSORS), framework="pt") as file:
            stored = stored_names(described(key).form.family, names, set(file.keys()))
            return {name: file.get_tensor(place) for name, place in stored.items()}
    except (OSError, SafetensorError, Unsupported) as error:
        raise _damaged(key, str(error)) from error


def _damaged(key: str, why: str) -> DataMissing:
    again = (
        f"remove it with “python -m privlab data remove-model {key}” and add it again from {origin(key)}"
        if is_own(key)
        else f"run “python -m privlab data fetch {key}”, which repairs it"
    )
    return DataMissing(f"{weights_title(key)} cannot be read ({why.rstrip('.')}): {again}.")
