"""What is known of each model before it is built. Torch-free, so that the web process may read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Literal, TypeVar

from privlab.data import own
from privlab.data.catalogue import DATASETS, DatasetFacts
from privlab.models.families import FAMILIES, TASKS, Described, Unsupported, describe, shapes
from privlab.models.forms import Transformer, dense, parts, trained


@dataclass(frozen=True)
class ModelFacts:
    """The facts of a model.

    Attributes:
        key: name in settings, for example ``scatter-linear``.
        title: name for people.
        about: one or two sentences for people.
        kinds: kinds of data set it takes.
        features: the fixed features it is trained on, or None for the inputs themselves.
        min_side: smallest height and width of a picture that it takes; 0 for any input.
        task: that it does, ``classify`` or ``language``.
        trains: which parts of it can be trained, the usual one first.
        weights: the fetched weights that it starts from, or its features come from; None where it starts from a seed alone.
        usual: the network that is usually trained in its place without privacy; None where this house builds none. BatchNorm,
            which ResNets usually have, mixes records, so it has no place here.
    """

    key: str
    title: str
    about: str
    kinds: tuple[Literal["image", "table", "text"], ...]
    features: Literal["scatter", "minilm"] | None = None
    min_side: int = 0
    task: Literal["classify", "language"] = "classify"
    trains: tuple[str, ...] = ("all",)
    weights: str | None = None
    usual: str | None = None


#: Words are hashed into so many buckets, two of which stand for padding and beginning.
WORD_BUCKETS = 4096
#: Bytes, padding, and the edge between texts.
BYTE_TOKENS = 258
_TRANSFORMERS = {
    "small-bert": Transformer(width=48, heads=4, blocks=2, context=64, vocabulary=WORD_BUCKETS, hidden=192),
    "small-gpt": Transformer(width=96, heads=4, blocks=2, context=128, vocabulary=BYTE_TOKENS, hidden=384),
    "minilm": Transformer(384, heads=12, blocks=6, context=64, vocabulary=30_522, hidden=1536, family="bert"),
    "tinystories": Transformer(288, heads=6, blocks=6, context=128, vocabulary=32_000, hidden=768, family="llama"),
}
#: Numbers of a text's embedding by MiniLM, and tokens of a text that it reads at most, as in its publication.
EMBEDDING_WIDTH, EMBEDDED_TOKENS = 384, 256
#: The package that LoRA adapters come from, in requirements-language.txt.
ADAPTERS = "peft"
#: Packages that models with fetched weights need, in the same file.
PRETRAINED = ("transformers", "tokenizers")
_PARTS = ("all", "lora", "last", "bias", "head")

_MODELS: dict[str, ModelFacts] = {
    facts.key: facts
    for facts in (
        ModelFacts(
            "logistic",
            "Logistic regression",
            "One linear layer. Few parameters, so that little noise is needed in total.",
            ("image", "table"),
        ),
        ModelFacts(
            "mlp",
            "Two-layer network (MLP)",
            "One hidden layer of 64 tanh units. Bounded activations keep gradients short and clipping mild.",
            ("image", "table"),
            usual="mlp-relu",
        ),
        ModelFacts(
            "mlp-relu",
            "Two-layer network, ReLU",
            "The same with ReLU, as it is usually built without privacy; for comparing.",
            ("image", "table"),
        ),
        ModelFacts(
            "cnn",
            "Small tanh CNN",
            "The convolutional network of Papernot et al. 2021 and Tramèr & Boneh 2021: small, with tanh activations.",
            ("image",),
            min_side=28,
            usual="cnn-relu",
        ),
        ModelFacts(
            "cnn-relu",
            "Small ReLU CNN",
            "The same network with ReLU, as it is usually built without privacy; for comparing. Unbounded activations make longer "
            "gradients, which clipping shortens more.",
            ("image",),
            min_side=28,
        ),
        ModelFacts(
            "scatter-linear",
            "ScatterNet + linear",
            "A linear layer on fixed wavelet features (Tramèr & Boneh 2021). The features learn nothing from the data, "
            "so they cost no privacy.",
            ("image",),
            features="scatter",
            min_side=28,
            usual="cnn-relu",
        ),
        ModelFacts(
            "resnet-gn",
            "ResNet-20 with GroupNorm",
            "A small residual network in which GroupNorm replaces BatchNorm, which would mix records. Slow without a GPU.",
            ("image",),
            min_side=28,
        ),
        ModelFacts(
            "small-bert",
            "Small BERT",
            "A transformer of two blocks that reads 64 words in both directions. Words are told apart by a fixed hash, since a "
            "vocabulary learnt from the texts would tell of them.",
            ("text",),
            trains=_PARTS,
        ),
        ModelFacts(
            "small-gpt",
            "Small GPT",
            "A transformer of two blocks that reads 128 bytes and goes on with them, byte by byte. Longer texts are cut off.",
            ("text",),
            task="language",
            trains=_PARTS,
        ),
        ModelFacts(
            "minilm-head",
            "MiniLM embeddings + linear",
            "A linear layer on fixed sentence embeddings by MiniLM, whose weights are public. They learn nothing from the data, so "
            "they cost no privacy, and are computed once.",
            ("text",),
            features="minilm",
            weights="minilm",
        ),
        ModelFacts(
            "minilm",
            "MiniLM (BERT, 22.7 M parameters)",
            "A public pretrained transformer of six blocks that reads 64 word pieces, with a new head. Its embeddings never train. "
            "Slow without a GPU.",
            ("text",),
            trains=("lora", "all", "last", "bias", "head"),
            weights="minilm",
        ),
        ModelFacts(
            "tinystories",
            "TinyStories (Llama, 15 M parameters)",
            "A public pretrained transformer of six blocks that reads 128 pieces of words and goes on with them. Its table of "
            "pieces, which is its head, too, never trains. Slow without a GPU.",
            ("text",),
            task="language",
            trains=("lora", "all", "last"),
            weights="tinystories",
        ),
    )
}


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


_looked_up: tuple[Mapping, dict[str, ModelFacts], dict[str, Transformer]] | None = None


def _added() -> tuple[dict[str, ModelFacts], dict[str, Transformer]]:
    """Facts and sizes of the added models; made again only where there are others."""
    global _looked_up
    here, known = own.added(), _looked_up
    if known is None or known[0] is not here:
        models, forms = {}, {}
        for key, each in here.items():
            try:
                described = describe(each.config)
            except Unsupported:
                # Added by another version of PrivLab, or changed since.
                continue
            models[key], forms[key] = _facts_of(each, described), described.form
        known = _looked_up = here, models, forms
    return known[1], known[2]


def _facts_of(each: own.Added, described: Described) -> ModelFacts:
    form = described.form
    count = sum(map(prod, shapes(described).values()))
    reads = f"that reads {form.context} pieces of words"
    does = (
        f"{reads}, with a new head. Its tables never train."
        if TASKS[form.family] == "classify"
        else f"{reads} and goes on with them. Its tables and its head never train."
    )
    return ModelFacts(
        each.key,
        f"{each.name} ({FAMILIES[form.family]}, {_rough(count)} parameters)",
        f"Added from {each.origin}. A pretrained transformer of {form.blocks} blocks {does}",
        ("text",),
        task=TASKS[form.family],
        trains=parts(form),
        weights=each.key,
    )


def _rough(count: int) -> str:
    """Three digits: 4.39 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


#: Every model by its key; those that were added on this machine come last.
MODELS: Mapping[str, ModelFacts] = _Known(_MODELS, lambda: _added()[0])
#: Sizes of those that are transformers.
TRANSFORMERS: Mapping[str, Transformer] = _Known(_TRANSFORMERS, lambda: _added()[1])

#: Records of each kind and task, in words.
_RECORDS = {
    ("image", "classify"): "pictures",
    ("table", "classify"): "rows of a table",
    ("text", "classify"): "texts that have a class",
    ("text", "language"): "texts to go on with",
}
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
