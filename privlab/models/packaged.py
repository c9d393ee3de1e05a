"""Weights that a model starts from, as they were fetched. Nothing is unpickled and nothing is asked of a network."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from privlab.data.load import DataMissing
from privlab.data.weights import CONFIG, TENSORS, WEIGHTS, weights_folder, weights_missing, weights_ready


def packaged(key: str, name: str) -> Path:
    """A file of fetched weights.

    Raises:
        KeyError: unknown weights.
        DataMissing: not fetched yet.
    """
    if not weights_ready(key):
        raise DataMissing(weights_missing(key))
    return weights_folder(key) / name


def sizes(key: str) -> dict:
    """Settings of the packaged model, for a configuration of transformers. Raises KeyError, DataMissing."""
    try:
        return json.loads(packaged(key, CONFIG).read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(key, str(error)) from error


def load_packaged(model: nn.Module, key: str) -> None:
    """Give ``model`` the weights of its names; what the package holds besides is left.

    Raises:
        KeyError: unknown weights.
        DataMissing: not fetched yet, damaged, or not of this model.
    """
    try:
        found: dict[str, Tensor] = load_file(packaged(key, TENSORS))
        own = model.state_dict()
        lacking = sorted(own.keys() - found.keys())
        if lacking:
            raise _damaged(key, f"{lacking[0]} is missing")
        model.load_state_dict({name: found[name] for name in own})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _damaged(key, str(error)) from error


def _damaged(key: str, why: str) -> DataMissing:
    return DataMissing(
        f"{WEIGHTS[key].title} cannot be read ({why}): run “python -m privlab data fetch {key}”, which repairs it."
    )
