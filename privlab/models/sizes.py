"""What a model takes in, and how many of its parameters train. Torch-free."""

from __future__ import annotations

from math import prod

from privlab.data.catalogue import DATASETS, DatasetFacts
from privlab.models.catalogue import MODELS, TRANSFORMERS, misfit, part_misfit
from privlab.models.forms import dense, trained

#: Numbers of a text's embedding by MiniLM, and tokens of a text that it reads at most, as in its publication.
EMBEDDING_WIDTH, EMBEDDED_TOKENS = 384, 256
#: Hidden units of ``mlp``.
HIDDEN_UNITS = 64
#: Scales of the scattering transform, J, and its angles, L.
SCATTER_SCALES = 2
SCATTER_ANGLES = 8
#: Channels of the three stages of ``resnet-gn``, and residual blocks in each.
RESNET_WIDTHS = (16, 32, 64)
RESNET_BLOCKS = 3
#: Channels of the three pairs of convolutions of ``cnn`` for colour pictures.
COLOUR_CNN_WIDTHS = (32, 64, 128)


def scatter_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Shape of the scattering features of one picture: (channels, height, width).

    With J scales and L angles each colour gives 1 + J·L + L²·J·(J−1)/2 channels (Oyallon and Mallat 2015), each smaller by
    2^J a side: (1, 28, 28) becomes (81, 7, 7).
    """
    channels, height, width = shape
    scales, angles = SCATTER_SCALES, SCATTER_ANGLES
    each = 1 + scales * angles + angles**2 * scales * (scales - 1) // 2
    return channels * each, height >> scales, width >> scales


def input_shape(model_key: str, dataset_key: str) -> tuple[int, ...]:
    """Shape of one record as the model takes it: tokens, features, or the data set's own. Raises KeyError."""
    model, data = MODELS[model_key], DATASETS[dataset_key]
    if model_key in TRANSFORMERS:
        return (TRANSFORMERS[model_key].context,)
    if model.features == "minilm":
        return (EMBEDDING_WIDTH,)
    return scatter_shape(data.shape) if model.features else data.shape


def parameters(model_key: str, dataset_key: str, trains: str = "all", lora_rank: int = 8) -> int:
    """Parameters of the model for the data set that train.

    Args:
        trains: the part that trains, one that the model offers.
        lora_rank: directions of each adapter where ``trains`` is ``lora``.

    Raises:
        KeyError: unknown model or data set.
        ValueError: the two do not go together, with the message of :func:`misfit`, or the model has no such part.
    """
    problem = misfit(model_key, dataset_key) or part_misfit(model_key, trains)
    if problem:
        raise ValueError(problem)
    data = DATASETS[dataset_key]
    if model_key in TRANSFORMERS:
        return trained(TRANSFORMERS[model_key], data.classes, trains, lora_rank)
    return _COUNTS[model_key](data)


def _conv(inputs: int, outputs: int, side: int, bias: bool = True) -> int:
    return outputs * (inputs * side * side + bias)


def _cnn(data: DatasetFacts) -> int:
    channels = data.shape[0]
    if channels == 1:
        return _conv(1, 16, 8) + _conv(16, 32, 4) + dense(32 * 4 * 4, 32, data.classes)
    total, inputs = 0, channels
    for width in COLOUR_CNN_WIDTHS:
        total += _conv(inputs, width, 3) + _conv(width, width, 3)
        inputs = width
    return total + dense(inputs * 4 * 4, 128, data.classes)


def _resnet(data: DatasetFacts) -> int:
    first = RESNET_WIDTHS[0]
    total, inputs = _conv(data.shape[0], first, 3, bias=False) + 2 * first, first
    for width in RESNET_WIDTHS:
        for _ in range(RESNET_BLOCKS):
            total += _conv(inputs, width, 3, bias=False) + _conv(width, width, 3, bias=False) + 4 * width
            if inputs != width:
                total += _conv(inputs, width, 1, bias=False) + 2 * width
            inputs = width
    return total + dense(inputs, data.classes)


_COUNTS = {
    "logistic": lambda data: dense(prod(data.shape), data.classes),
    "mlp": lambda data: dense(prod(data.shape), HIDDEN_UNITS, data.classes),
    "mlp-relu": lambda data: dense(prod(data.shape), HIDDEN_UNITS, data.classes),
    "cnn": _cnn,
    "cnn-relu": _cnn,
    "scatter-linear": lambda data: dense(prod(scatter_shape(data.shape)), data.classes),
    "resnet-gn": _resnet,
    "minilm-head": lambda data: dense(EMBEDDING_WIDTH, data.classes),
}
