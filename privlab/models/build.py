"""Building the networks. All of them can be trained privately: no layer mixes records, and none works in place."""

from __future__ import annotations

from math import prod

import torch
from torch import nn

from privlab.data.catalogue import DatasetFacts
from privlab.data.load import DataMissing
from privlab.data.own import is_own, missing
from privlab.models.catalogue import MODELS, TRANSFORMERS, misfit, part_misfit
from privlab.models.language import SmallBert, SmallGpt
from privlab.models.parts import choose_part
from privlab.models.pretrained import bert, llama, pretrained
from privlab.models.sizes import (
    COLOUR_CNN_WIDTHS,
    EMBEDDING_WIDTH,
    HIDDEN_UNITS,
    RESNET_BLOCKS,
    RESNET_WIDTHS,
    scatter_shape,
)
from privlab.models.tokens import HashedWords

#: Channels that share one mean and deviation in GroupNorm.
_CHANNELS_A_GROUP = 4


def build(model_key: str, facts: DatasetFacts, seed: int, trains: str = "all", lora_rank: int = 8) -> nn.Module:
    """A network on the CPU, freshly initialised or from packaged weights.

    It takes a batch of the data set's inputs, or of the model's features where it has any, and returns logits of shape
    (records, classes), or (records, tokens, V) for language. The weights depend on ``seed`` and on packaged ones alone; the
    caller's random state is left as it was.

    Args:
        trains: the part that trains, one that the model offers.
        lora_rank: directions of each adapter where ``trains`` is ``lora``.

    Raises:
        KeyError: unknown model.
        ValueError: the model does not take this data set, or has no such part; the message says why.
        DataMissing: it starts from weights that are not on this machine.
    """
    if is_own(model_key) and model_key not in MODELS:
        raise DataMissing(missing(model_key))
    problem = misfit(model_key, facts.key) or part_misfit(model_key, trains)
    if problem:
        raise ValueError(problem)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = pretrained(model_key, facts.classes) if is_own(model_key) else _BUILDERS[model_key](facts)
        choose_part(model, trains, lora_rank)
        return model


def _logistic(facts: DatasetFacts) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(facts.shape), facts.classes))


def _scatter_linear(facts: DatasetFacts) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(scatter_shape(facts.shape)), facts.classes))


def _mlp(facts: DatasetFacts, activation: type[nn.Module] = nn.Tanh) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(facts.shape), HIDDEN_UNITS),
        activation(),
        nn.Linear(HIDDEN_UNITS, facts.classes),
    )


def _cnn(facts: DatasetFacts, activation: type[nn.Module] = nn.Tanh) -> nn.Module:
    return (_grey_cnn if facts.shape[0] == 1 else _colour_cnn)(facts, activation)


def _grey_cnn(facts: DatasetFacts, activation: type[nn.Module]) -> nn.Module:
    """The network of Papernot et al. 2021, table 1, for 28×28 pictures."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, stride=2, padding=2),
        activation(),
        nn.MaxPool2d(2, stride=1),
        nn.Conv2d(16, 32, 4, stride=2),
        activation(),
        nn.MaxPool2d(2, stride=1),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 32),
        activation(),
        nn.Linear(32, facts.classes),
    )


def _colour_cnn(facts: DatasetFacts, activation: type[nn.Module]) -> nn.Module:
    """The network of Papernot et al. 2021, table 2, for 32×32 colour pictures."""
    layers: list[nn.Module] = []
    inputs = facts.shape[0]
    for width in COLOUR_CNN_WIDTHS:
        layers += [
            nn.Conv2d(inputs, width, 3, padding=1),
            activation(),
            nn.Conv2d(width, width, 3, padding=1),
            activation(),
            nn.MaxPool2d(2),
        ]
        inputs = width
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(inputs * 4 * 4, 128),
        activation(),
        nn.Linear(128, facts.classes),
    )


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels // _CHANNELS_A_GROUP, channels)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al. 2016), with GroupNorm (Wu and He 2018) for BatchNorm."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            _norm(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            _norm(outputs),
        )
        self.shortcut = (
            nn.Identity()
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _norm(outputs))
        )
        self.activation = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Not +=: per-sample gradient hooks need the inputs of each layer untouched.
        return self.activation(self.body(x) + self.shortcut(x))


def _resnet(facts: DatasetFacts) -> nn.Module:
    inputs = RESNET_WIDTHS[0]
    layers: list[nn.Module] = [
        nn.Conv2d(facts.shape[0], inputs, 3, padding=1, bias=False),
        _norm(inputs),
        nn.ReLU(),
    ]
    for width in RESNET_WIDTHS:
        for _ in range(RESNET_BLOCKS):
            layers.append(ResidualBlock(inputs, width, stride=1 if inputs == width else 2))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, facts.classes))


def _small_bert(facts: DatasetFacts) -> nn.Module:
    return SmallBert(TRANSFORMERS["small-bert"], facts.classes, HashedWords.pad)


def _small_gpt(facts: DatasetFacts) -> nn.Module:
    return SmallGpt(TRANSFORMERS["small-gpt"])


def _minilm(facts: DatasetFacts) -> nn.Module:
    return bert("minilm", facts.classes)


def _minilm_head(facts: DatasetFacts) -> nn.Module:
    return nn.Linear(EMBEDDING_WIDTH, facts.classes)


def _tinystories(facts: DatasetFacts) -> nn.Module:
    return llama("tinystories")


_BUILDERS = {
    "logistic": _logistic,
    "mlp": _mlp,
    "mlp-relu": lambda facts: _mlp(facts, nn.ReLU),
    "cnn": _cnn,
    "cnn-relu": lambda facts: _cnn(facts, nn.ReLU),
    "scatter-linear": _scatter_linear,
    "resnet-gn": _resnet,
    "small-bert": _small_bert,
    "small-gpt": _small_gpt,
    "minilm": _minilm,
    "minilm-head": _minilm_head,
    "tinystories": _tinystories,
}
