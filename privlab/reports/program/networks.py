"""The networks of :mod:`privlab.models.build` as plain PyTorch source.

Layers are made in the same order there and here, so the same seed gives the same initial weights (a test compares them).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod

from privlab.data.catalogue import DatasetFacts
from privlab.models.catalogue import TRANSFORMERS
from privlab.models.sizes import (
    COLOUR_CNN_WIDTHS,
    EMBEDDING_WIDTH,
    HIDDEN_UNITS,
    RESNET_BLOCKS,
    RESNET_WIDTHS,
    scatter_shape,
)


def _sequential(*layers: str) -> str:
    lines = "".join(f"        {layer},\n" for layer in layers)
    return f"def network():\n    return nn.Sequential(\n{lines}    )\n"


def _logistic(facts: DatasetFacts) -> str:
    return _sequential("nn.Flatten()", f"nn.Linear({prod(facts.shape)}, {facts.classes})")


def _scatter_linear(facts: DatasetFacts) -> str:
    return _sequential("nn.Flatten()", f"nn.Linear({prod(scatter_shape(facts.shape))}, {facts.classes})")


def _minilm_head(facts: DatasetFacts) -> str:
    return f"def network():\n    return nn.Linear({EMBEDDING_WIDTH}, {facts.classes})\n"


def _mlp(facts: DatasetFacts, activation: str = "nn.Tanh()") -> str:
    return _sequential(
        "nn.Flatten()",
        f"nn.Linear({prod(facts.shape)}, {HIDDEN_UNITS})",
        activation,
        f"nn.Linear({HIDDEN_UNITS}, {facts.classes})",
    )


def _cnn(facts: DatasetFacts, activation: str = "nn.Tanh()") -> str:
    if facts.shape[0] == 1:
        return _sequential(
            *("nn.Conv2d(1, 16, 8, stride=2, padding=2)", activation, "nn.MaxPool2d(2, stride=1)"),
            *("nn.Conv2d(16, 32, 4, stride=2)", activation, "nn.MaxPool2d(2, stride=1)"),
            *("nn.Flatten()", "nn.Linear(512, 32)", activation, f"nn.Linear(32, {facts.classes})"),
        )
    layers: list[str] = []
    for inputs, width in pairwise((facts.shape[0], *COLOUR_CNN_WIDTHS)):
        layers += [f"nn.Conv2d({inputs}, {width}, 3, padding=1)", activation]
        layers += [f"nn.Conv2d({width}, {width}, 3, padding=1)", activation, "nn.MaxPool2d(2)"]
    wide = COLOUR_CNN_WIDTHS[-1] * 16
    return _sequential(
        *layers, "nn.Flatten()", f"nn.Linear({wide}, 128)", activation, f"nn.Linear(128, {facts.classes})"
    )


def _resnet(facts: DatasetFacts) -> str:
    first = RESNET_WIDTHS[0]
    return f"""\
def norm(channels):
    return nn.GroupNorm(channels // 4, channels)  # BatchNorm would mix records


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), norm(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), norm(outputs),
        )
        self.shortcut = nn.Identity() if inputs == outputs else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs)
        )

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


def network():
    inputs = {first}
    layers = [nn.Conv2d({facts.shape[0]}, inputs, 3, padding=1, bias=False), norm(inputs), nn.ReLU()]
    for width in {RESNET_WIDTHS}:
        for _ in range({RESNET_BLOCKS}):
            layers.append(Block(inputs, width, stride=1 if inputs == width else 2))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, {facts.classes}))
"""


def _transformer(key: str, outputs: int) -> str:
    form, reads_all = TRANSFORMERS[key], key == "small-bert"
    forward = (
        """\
        there = ids != 0  # 0 fills up short texts
        itself = torch.eye(ids.shape[1], dtype=torch.bool, device=ids.device)
        states = self.states(ids, there[:, None, None] | itself)
        weights = there.unsqueeze(2).to(states.dtype)
        return self.head((states * weights).sum(1) / weights.sum(1).clamp(min=1))"""
        if reads_all
        else "        return self.head(self.states(ids, None))"
    )
    return f"""\
class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.project = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, seen):
        before = self.norm1(x)
        query, key, value = (
            layer(before).unflatten(2, ({form.heads}, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, is_causal={not reads_all})
        x = x + self.project(found.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding({form.vocabulary}, {form.width}), nn.Embedding({form.context}, {form.width})
        self.blocks = nn.ModuleList(Block({form.width}) for _ in range({form.blocks}))
        self.norm, self.head = nn.LayerNorm({form.width}), nn.Linear({form.width}, {outputs})
        nn.init.normal_(self.tokens.weight, std=0.1)
        nn.init.normal_(self.positions.weight, std=0.02)

    def states(self, ids, seen):
        # Written out for each record: Opacus's rules take no places that all records share.
        places = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape).contiguous()
        x = self.tokens(ids) + self.positions(places)
        for block in self.blocks:
            x = block(x, seen)
        return self.norm(x)

    def forward(self, ids):
{forward}


network = Transformer
"""


#: Source that defines ``network()`` for the data set, by model; it needs ``torch``, ``nn`` and ``F``.
NETWORKS: dict[str, Callable[[DatasetFacts], str]] = {
    "logistic": _logistic,
    "mlp": _mlp,
    "mlp-relu": lambda facts: _mlp(facts, "nn.ReLU()"),
    "cnn": _cnn,
    "cnn-relu": lambda facts: _cnn(facts, "nn.ReLU()"),
    "scatter-linear": _scatter_linear,
    "resnet-gn": _resnet,
    "minilm-head": _minilm_head,
    "small-bert": lambda facts: _transformer("small-bert", facts.classes),
    "small-gpt": lambda facts: _transformer("small-gpt", TRANSFORMERS["small-gpt"].vocabulary),
}
