"""The published transformers that PrivLab trains: which config.json it takes, and what it refuses by name. Torch-free.

A family is taken whole: its layers are known, none mixes records, and nothing of a model is code. Of a config.json only the sizes
that are read here reach the package transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from privlab.models import configfile as read
from privlab.models.configfile import Unsupported
from privlab.models.forms import Transformer

#: Families by ``model_type``, with their names, and the task that each does here.
FAMILIES = {"bert": "BERT", "roberta": "RoBERTa", "gpt2": "GPT-2", "llama": "Llama"}
TASKS = {"bert": "classify", "roberta": "classify", "gpt2": "language", "llama": "language"}
#: More than any published model has; each is looked for by name.
_MOST_BLOCKS = 1000


@dataclass(frozen=True)
class Described:
    """What a config.json says, checked.

    Attributes:
        settings: for the family's configuration in the package transformers; sizes and constants only.
        form: its sizes, as the catalogue has them.
        pad: id that fills up short texts, for a classifier.
        begin, end: ids around a text, for language.
        tied: whether the head is the table of tokens, for language.
    """

    settings: dict[str, Any]
    form: Transformer
    pad: int = 0
    begin: int = 0
    end: int = 0
    tied: bool = True


def describe(config: Any) -> Described:
    """Read a config.json.

    Raises:
        Unsupported: what it describes is not taken here.
    """
    if not isinstance(config, Mapping):
        raise Unsupported("Its config.json is no JSON object.")
    family = config.get("model_type")
    if "auto_map" in config:
        raise Unsupported(
            "Its config.json names code of its own (auto_map), and code that comes with a model is never run."
        )
    if family not in FAMILIES:
        supported = ", ".join(f"{key} ({name})" for key, name in FAMILIES.items())
        raise Unsupported(f"Its model_type is {family!r}; supported are {supported}.")
    if config.get("quantization_config"):
        raise Unsupported("Its weights are quantised (quantization_config); take the model with its full weights.")
    for name in ("is_decoder", "add_cross_attention", "is_encoder_decoder"):
        if config.get(name):
            raise Unsupported(
                f"{name}=true in its config.json: supported are encoders (bert, roberta) that read, and decoders that write."
            )
    found = {"bert": _bert, "roberta": _bert, "gpt2": _gpt2, "llama": _llama}[family](config)
    if found.form.blocks > _MOST_BLOCKS:
        raise Unsupported(f"It has {found.form.blocks:,} blocks by its config.json; at most {_MOST_BLOCKS:,} are read.")
    return found


def _bert(config: Mapping) -> Described:
    kind = config.get("position_embedding_type", "absolute")
    if kind != "absolute":
        raise Unsupported(f"position_embedding_type={kind!r}: only absolute places are read here.")
    family, roberta = config["model_type"], config["model_type"] == "roberta"
    width, heads, blocks = (
        read.size(config, name) for name in ("hidden_size", "num_attention_heads", "num_hidden_layers")
    )
    hidden, vocabulary = read.size(config, "intermediate_size"), read.size(config, "vocab_size")
    rows = read.size(config, "max_position_embeddings")
    pad = read.token(config, "pad_token_id", vocabulary, int(roberta))
    # RoBERTa's places begin behind the id of its pad.
    context = read.context(rows - pad - 1 if roberta else rows)
    read.check_heads(width, heads)
    settings = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
        "hidden_act": read.activation(config, "hidden_act", "gelu"),
        "max_position_embeddings": rows,
        "type_vocab_size": read.size(config, "type_vocab_size", 2),
        "layer_norm_eps": read.number(config, "layer_norm_eps", 1e-12),
        "pad_token_id": pad,
    }
    return Described(settings, Transformer(width, heads, blocks, context, vocabulary, hidden, family), pad=pad)


def _gpt2(config: Mapping) -> Described:
    width, heads, blocks = (read.size(config, name) for name in ("n_embd", "n_head", "n_layer"))
    vocabulary, rows = read.size(config, "vocab_size"), read.size(config, "n_positions")
    hidden = 4 * width if config.get("n_inner") is None else read.size(config, "n_inner")
    read.check_heads(width, heads)
    settings = {
        "vocab_size": vocabulary,
        "n_embd": width,
        "n_head": heads,
        "n_layer": blocks,
        "n_inner": hidden,
        "n_positions": rows,
        "activation_function": read.activation(config, "activation_function", "gelu_new"),
        "layer_norm_epsilon": read.number(config, "layer_norm_epsilon", 1e-5),
        "scale_attn_weights": read.flag(config, "scale_attn_weights", True),
        "scale_attn_by_inverse_layer_idx": read.flag(config, "scale_attn_by_inverse_layer_idx", False),
    }
    begin, end = read.edges(config, vocabulary, 50_256, 50_256)
    tied = read.flag(config, "tie_word_embeddings", True)
    form = Transformer(width, heads, blocks, read.context(rows), vocabulary, hidden, "gpt2")
    return Described(settings, form, begin=begin, end=end, tied=tied)


def _llama(config: Mapping) -> Described:
    width, heads, blocks = (
        read.size(config, name) for name in ("hidden_size", "num_attention_heads", "num_hidden_layers")
    )
    hidden, vocabulary = read.size(config, "intermediate_size"), read.size(config, "vocab_size")
    rows = read.size(config, "max_position_embeddings", 2048)
    shared = heads if config.get("num_key_value_heads") is None else read.size(config, "num_key_value_heads")
    read.check_heads(width, heads)
    if heads % shared:
        raise Unsupported(f"num_key_value_heads={shared} does not divide num_attention_heads={heads}.")
    each = width // heads if config.get("head_dim") is None else read.size(config, "head_dim")
    if each % 2:
        raise Unsupported(f"Its heads have {each} numbers; places are turned in pairs of them.")
    turns = read.rotation(config)
    biases = read.flag(config, "attention_bias", False), read.flag(config, "mlp_bias", False)
    settings = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "head_dim": each,
        "hidden_act": read.activation(config, "hidden_act", "silu"),
        "max_position_embeddings": rows,
        "rms_norm_eps": read.number(config, "rms_norm_eps", 1e-6),
        "rope_parameters": turns,
        "attention_bias": biases[0],
        "mlp_bias": biases[1],
    }
    form = Transformer(
        width, heads, blocks, read.context(rows), vocabulary, hidden, "llama", heads * each, shared * each, *biases
    )
    begin, end = read.edges(config, vocabulary, 1, 2)
    return Described(settings, form, begin=begin, end=end, tied=read.flag(config, "tie_word_embeddings", False))
