"""The models that PrivLab brings, as facts: what somebody may know of one before it is built. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from privlab.models.forms import Transformer


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
#: The package that LoRA adapters come from, in requirements-language.txt.
ADAPTERS = "peft"
#: Packages that models with fetched weights need, in the same file.
PRETRAINED = ("transformers", "tokenizers")
#: Sizes of those that are transformers.
BROUGHT_FORMS = {
    "small-bert": Transformer(width=48, heads=4, blocks=2, context=64, vocabulary=WORD_BUCKETS, hidden=192),
    "small-gpt": Transformer(width=96, heads=4, blocks=2, context=128, vocabulary=BYTE_TOKENS, hidden=384),
    "minilm": Transformer(384, heads=12, blocks=6, context=64, vocabulary=30_522, hidden=1536, family="bert"),
    "tinystories": Transformer(288, heads=6, blocks=6, context=128, vocabulary=32_000, hidden=768, family="llama"),
}
_PARTS = ("all", "lora", "last", "bias", "head")
#: In the order in which people choose.
BROUGHT: dict[str, ModelFacts] = {
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
