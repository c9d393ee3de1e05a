"""Which trained models can answer on ciphertext, and their layers as NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Layer = tuple[np.ndarray, np.ndarray]

#: Names of the weights of PrivLab's ``logistic`` (and ``scatter-linear``) and ``mlp``, as their safetensors files have them.
_LINEAR = ("1.weight", "1.bias")
_MLP = (*_LINEAR, "3.weight", "3.bias")


class NotEncryptable(Exception):
    """A model that cannot be computed on ciphertext here, with the reason in plain words."""


def layers_of(weights: dict[str, np.ndarray]) -> tuple[list[Layer], str | None]:
    """Layers and activation of a finished PrivLab run, for :func:`privlab.encryption.inference.service.classify`.

    Args:
        weights: the tensors of the run's safetensors file by name. ``logistic`` has one layer, ``mlp`` two with tanh between.
            ``scatter-linear`` has one as well; its inputs are the record's 3,969 scattering features, not its pixels.

    Returns:
        (layers, activation): (weights (outputs, inputs), bias (outputs,)) of each layer in float64; "tanh", or None for one layer.

    Raises:
        NotEncryptable: any other model; the message says why.
    """
    names = set(weights)
    if any(np.ndim(array) > 2 for array in weights.values()):
        raise NotEncryptable(
            "This model has convolutions. On ciphertext they take about a second a picture and need rotations for each filter, "
            "which is not built; train “logistic” or “mlp”."
        )
    if names == set(_LINEAR):
        chosen, activation = (_LINEAR,), None
    elif names == set(_MLP):
        chosen, activation = (_LINEAR, _MLP[2:]), "tanh"
    else:
        raise NotEncryptable(
            f"This model has weights named {', '.join(sorted(names)) or 'nothing'}; encrypted inference takes “logistic” "
            "(1.weight, 1.bias) and “mlp” (also 3.weight, 3.bias)."
        )
    layers = [tuple(np.asarray(weights[name], dtype=np.float64) for name in pair) for pair in chosen]
    check_layers(layers, activation)
    return layers, activation


def check_layers(layers: Sequence[Layer], activation: str | None) -> None:
    """Refuse layers that do not fit one another, or that are too many.

    Raises:
        NotEncryptable: naming the shape or value at fault.
    """
    if not 1 <= len(layers) <= 2:
        raise NotEncryptable(
            f"{len(layers)} layers were given; encrypted inference takes 1 or 2: each costs levels of the ciphertext."
        )
    if (len(layers) == 2) != (activation is not None) or activation not in (None, "tanh", "square"):
        raise NotEncryptable(
            f"activation={activation!r} with {len(layers)} layer(s): one layer has none, two have “tanh” or “square”."
        )
    inputs = np.shape(layers[0][0])[-1]
    for number, (matrix, bias) in enumerate(layers, 1):
        if np.ndim(matrix) != 2 or np.shape(matrix)[1] != inputs or np.shape(bias) != (np.shape(matrix)[0],):
            raise NotEncryptable(
                f"Layer {number} has weights {np.shape(matrix)} and bias {np.shape(bias)} for {inputs} inputs."
            )
        if not (np.isfinite(matrix).all() and np.isfinite(bias).all()):
            raise NotEncryptable(f"Layer {number} holds NaN or infinity.")
        inputs = len(bias)


def plain_logits(layers: Sequence[Layer], activation: str | None, x: np.ndarray) -> np.ndarray:
    """What the model says without encryption: logits (classes,) for ``x`` (inputs,), or (records, classes) for (records, inputs)."""
    values = x @ layers[0][0].T + layers[0][1]
    for matrix, bias in layers[1:]:
        values = (np.tanh(values) if activation == "tanh" else values * values) @ matrix.T + bias
    return values
