"""The sizes of a transformer, and how many parameters of it train. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Family = Literal["small", "bert", "roberta", "gpt2", "llama"]


@dataclass(frozen=True)
class Transformer:
    """Sizes of a transformer.

    Attributes:
        width: numbers for each token.
        heads: of attention.
        blocks: of attention and a network of two layers, or of three where it is gated (Llama).
        context: tokens that it reads at most.
        vocabulary: tokens there are.
        hidden: units of the network in a block.
        family: whose blocks they are. Of all but ``small``, which start from a seed, the tables of tokens and places, and for
            language the head, never train.
        queries, keys: numbers of all heads' queries, and of their keys, which heads may share; None for ``width``.
        attention_biases, network_biases: whether a Llama's linear layers have biases.
    """

    width: int
    heads: int
    blocks: int
    context: int
    vocabulary: int
    hidden: int
    family: Family = "small"
    queries: int | None = None
    keys: int | None = None
    attention_biases: bool = False
    network_biases: bool = False


def parts(form: Transformer) -> tuple[str, ...]:
    """Which parts of a pretrained one can be trained, the usual one first."""
    biases = form.family != "llama" or form.attention_biases or form.network_biases
    head = form.family in ("bert", "roberta")
    return ("lora", "all", "last", *(["bias"] if biases else []), *(["head"] if head else []))


def trained(form: Transformer, classes: int, part: str, rank: int) -> int:
    """Parameters that train.

    Args:
        classes: of the data set; 0 for language.
        part: one that the model has.
        rank: directions of each adapter, for ``lora``.
    """
    if form.family == "llama":
        return _llama(form, part, rank)
    if form.family == "gpt2":
        return _gpt2(form, part, rank)
    return _plain(form, classes, part, rank)


def dense(*widths: int) -> int:
    """Weights and biases of linear layers behind each other."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def _plain(form: Transformer, classes: int, part: str, rank: int) -> int:
    """Blocks of attention and a two-layer network, with biases and LayerNorm: BERT's, RoBERTa's, and those from scratch."""
    width, hidden = form.width, form.hidden
    attention, network, norm = 4 * dense(width, width), dense(width, hidden, width), 2 * width
    block = attention + network + 2 * norm
    head = dense(width, classes or form.vocabulary)
    # What is before the blocks and after them: fixed where it was published, and BERT's blocks end with a norm.
    tables = (form.vocabulary + form.context) * width if form.family == "small" else 0
    last = norm if form.family == "small" else 0
    return {
        "all": tables + form.blocks * block + last + head,
        "last": block + last + head,
        # Biases of four projections, two norms and the two-layer network, and of the last norm.
        "bias": form.blocks * ((4 + 2 + 1) * width + hidden) + last // 2 + head,
        "lora": form.blocks * rank * (4 * 2 * width + 2 * (width + hidden)) + head,
        "head": head,
    }[part]


def _gpt2(form: Transformer, part: str, rank: int) -> int:
    """Queries, keys and values by one layer; a LayerNorm behind the last block."""
    width, hidden = form.width, form.hidden
    norm = 2 * width
    block = dense(width, 3 * width) + dense(width, width) + dense(width, hidden, width) + 2 * norm
    return {
        "all": form.blocks * block + norm,
        "last": block + norm,
        # Of two layers of attention, two norms and the two-layer network, and of the last norm.
        "bias": form.blocks * ((3 + 1 + 2 + 1) * width + hidden) + width,
        "lora": form.blocks * rank * ((1 + 3) * width + 2 * width + 2 * (width + hidden)),
    }[part]


def _llama(form: Transformer, part: str, rank: int) -> int:
    """Blocks of attention and a gated network, with RMSNorm; the last one too."""
    width, hidden = form.width, form.hidden
    queries, keys = form.queries or width, form.keys or width
    biases = form.attention_biases * (queries + 2 * keys + width) + form.network_biases * (2 * hidden + width)
    block = 2 * width * (queries + keys) + 3 * width * hidden + 2 * width + biases
    return {
        "all": form.blocks * block + width,
        "last": block + width,
        "bias": form.blocks * biases,
        "lora": form.blocks * rank * (2 * (width + queries) + 2 * (width + keys) + 3 * (width + hidden)),
    }[part]
