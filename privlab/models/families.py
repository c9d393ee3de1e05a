"""The published transformers that PrivLab trains: which config.json it takes, and what it refuses by name. Torch-free.

A family is taken whole: its layers are known, none mixes records, and nothing of a model is code. Of a config.json only the sizes
that are read here reach the package transformers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from privlab.models.forms import Transformer

#: Families by ``model_type``, with their names, and the task that each does here.
FAMILIES = {"bert": "BERT", "roberta": "RoBERTa", "gpt2": "GPT-2", "llama": "Llama"}
TASKS = {"bert": "classify", "roberta": "classify", "gpt2": "language", "llama": "language"}
#: Tokens of a text that an added model reads at most: the cost of attention grows with their square.
MOST_TOKENS = 128
_FEWEST_TOKENS = 4
#: More than any published model has; each is looked for by name.
_MOST_BLOCKS = 1000
#: Activations of the package transformers that look at one number at a time.
_ACTIVATIONS = (
    *("gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh", "quick_gelu"),
    *("relu", "silu", "swish", "tanh"),
)
#: Ways to turn places that do not depend on the texts of a batch.
_TURNS = ("default", "linear", "llama3")
#: Kinds of numbers that become float32.
_NUMBERS = ("F64", "F32", "F16", "BF16")
#: What a checkpoint may put before the names of the body's tensors.
_PREFIXES = {"bert": "bert.", "roberta": "roberta.", "gpt2": "transformer.", "llama": "model."}
HEAD = "lm_head.weight"
_MISSING = object()


class Unsupported(Exception):
    """A model that PrivLab does not take. The message is a sentence that says why and what it takes."""


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
                f"{name}=true in its config.json: supported are {_ENCODERS} that read, and decoders that write."
            )
    found = {"bert": _bert, "roberta": _bert, "gpt2": _gpt2, "llama": _llama}[family](config)
    if found.form.blocks > _MOST_BLOCKS:
        raise Unsupported(f"It has {found.form.blocks:,} blocks by its config.json; at most {_MOST_BLOCKS:,} are read.")
    return found


_ENCODERS = "encoders (bert, roberta)"


def _bert(config: Mapping) -> Described:
    kind = config.get("position_embedding_type", "absolute")
    if kind != "absolute":
        raise Unsupported(f"position_embedding_type={kind!r}: only absolute places are read here.")
    family, roberta = config["model_type"], config["model_type"] == "roberta"
    width, heads, blocks = (_size(config, name) for name in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    hidden, vocabulary = _size(config, "intermediate_size"), _size(config, "vocab_size")
    rows = _size(config, "max_position_embeddings")
    pad = _id(config, "pad_token_id", vocabulary, int(roberta))
    # RoBERTa's places begin behind the id of its pad.
    context = _context(rows - pad - 1 if roberta else rows)
    _divides(width, heads)
    settings = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
        "hidden_act": _activation(config, "hidden_act", "gelu"),
        "max_position_embeddings": rows,
        "type_vocab_size": _size(config, "type_vocab_size", 2),
        "layer_norm_eps": _number(config, "layer_norm_eps", 1e-12),
        "pad_token_id": pad,
    }
    return Described(settings, Transformer(width, heads, blocks, context, vocabulary, hidden, family), pad=pad)


def _gpt2(config: Mapping) -> Described:
    width, heads, blocks = (_size(config, name) for name in ("n_embd", "n_head", "n_layer"))
    vocabulary, rows = _size(config, "vocab_size"), _size(config, "n_positions")
    hidden = 4 * width if config.get("n_inner") is None else _size(config, "n_inner")
    _divides(width, heads)
    settings = {
        "vocab_size": vocabulary,
        "n_embd": width,
        "n_head": heads,
        "n_layer": blocks,
        "n_inner": hidden,
        "n_positions": rows,
        "activation_function": _activation(config, "activation_function", "gelu_new"),
        "layer_norm_epsilon": _number(config, "layer_norm_epsilon", 1e-5),
        "scale_attn_weights": _flag(config, "scale_attn_weights", True),
        "scale_attn_by_inverse_layer_idx": _flag(config, "scale_attn_by_inverse_layer_idx", False),
    }
    begin, end = _edges(config, vocabulary, 50_256, 50_256)
    tied = _flag(config, "tie_word_embeddings", True)
    form = Transformer(width, heads, blocks, _context(rows), vocabulary, hidden, "gpt2")
    return Described(settings, form, begin=begin, end=end, tied=tied)


def _llama(config: Mapping) -> Described:
    width, heads, blocks = (_size(config, name) for name in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    hidden, vocabulary = _size(config, "intermediate_size"), _size(config, "vocab_size")
    rows = _size(config, "max_position_embeddings", 2048)
    shared = heads if config.get("num_key_value_heads") is None else _size(config, "num_key_value_heads")
    _divides(width, heads)
    if heads % shared:
        raise Unsupported(f"num_key_value_heads={shared} does not divide num_attention_heads={heads}.")
    each = width // heads if config.get("head_dim") is None else _size(config, "head_dim")
    if each % 2:
        raise Unsupported(f"Its heads have {each} numbers; places are turned in pairs of them.")
    turns = _turns(config)
    biases = _flag(config, "attention_bias", False), _flag(config, "mlp_bias", False)
    settings = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "head_dim": each,
        "hidden_act": _activation(config, "hidden_act", "silu"),
        "max_position_embeddings": rows,
        "rms_norm_eps": _number(config, "rms_norm_eps", 1e-6),
        "rope_parameters": turns,
        "attention_bias": biases[0],
        "mlp_bias": biases[1],
    }
    form = Transformer(
        width, heads, blocks, _context(rows), vocabulary, hidden, "llama", heads * each, shared * each, *biases
    )
    begin, end = _edges(config, vocabulary, 1, 2)
    return Described(settings, form, begin=begin, end=end, tied=_flag(config, "tie_word_embeddings", False))


def _turns(config: Mapping) -> dict[str, Any]:
    """How places are turned (rotary embeddings): numbers only, and of a kind that is the same for every batch."""
    stated = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(stated, Mapping):
        raise Unsupported(f"rope_parameters={stated!r} is no JSON object.")
    kind = stated.get("rope_type", stated.get("type", "default"))
    if kind not in _TURNS:
        raise Unsupported(f"rope_type={kind!r}: places are turned by {', '.join(_TURNS)} here.")
    base = stated.get("rope_theta", config.get("rope_theta"))
    found = {"rope_type": kind, "rope_theta": 10_000.0 if base is None else base}
    found |= {name: value for name, value in stated.items() if name not in ("type", "rope_type", "rope_theta")}
    for name, value in found.items():
        if name != "rope_type" and not (_is_number(value) and value > 0):
            raise Unsupported(f"{name}={value!r} of its rope_parameters is no positive number.")
    if found.get("partial_rotary_factor", 1) != 1:
        raise Unsupported(
            f"partial_rotary_factor={found['partial_rotary_factor']}: all numbers of a head are turned here."
        )
    return found


def shapes(described: Described) -> dict[str, tuple[int, ...]]:
    """Every tensor that the model must hold, by its name in the body; the head by ``HEAD`` where it is one of its own."""
    form, settings = described.form, described.settings
    found = _SHAPES[form.family](form, settings)
    if TASKS[form.family] == "language" and not described.tied:
        found[HEAD] = (form.vocabulary, form.width)
    return found


def _bert_shapes(form: Transformer, settings: Mapping) -> dict[str, tuple[int, ...]]:
    width, hidden = form.width, form.hidden
    rows = {
        "word": form.vocabulary,
        "position": settings["max_position_embeddings"],
        "token_type": settings["type_vocab_size"],
    }
    found = {f"embeddings.{name}_embeddings.weight": (count, width) for name, count in rows.items()}
    found |= _pair("embeddings.LayerNorm", (width,))
    for block in range(form.blocks):
        at = f"encoder.layer.{block}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            found |= _pair(f"{at}.attention.{name}", (width, width))
        found |= _pair(f"{at}.intermediate.dense", (hidden, width)) | _pair(f"{at}.output.dense", (width, hidden))
        found |= _pair(f"{at}.attention.output.LayerNorm", (width,)) | _pair(f"{at}.output.LayerNorm", (width,))
    return found


def _gpt2_shapes(form: Transformer, settings: Mapping) -> dict[str, tuple[int, ...]]:
    """Its linear layers lie with inputs first."""
    width, hidden = form.width, form.hidden
    found = {"wte.weight": (form.vocabulary, width), "wpe.weight": (settings["n_positions"], width)} | _pair(
        "ln_f", (width,)
    )
    for block in range(form.blocks):
        at = f"h.{block}"
        found |= _pair(f"{at}.ln_1", (width,)) | _pair(f"{at}.ln_2", (width,))
        for name, inputs, outputs in (
            ("attn.c_attn", width, 3 * width),
            ("attn.c_proj", width, width),
            ("mlp.c_fc", width, hidden),
            ("mlp.c_proj", hidden, width),
        ):
            found |= {f"{at}.{name}.weight": (inputs, outputs), f"{at}.{name}.bias": (outputs,)}
    return found


def _llama_shapes(form: Transformer, settings: Mapping) -> dict[str, tuple[int, ...]]:
    width, hidden = form.width, form.hidden
    found = {"embed_tokens.weight": (form.vocabulary, width), "norm.weight": (width,)}
    for block in range(form.blocks):
        at = f"layers.{block}"
        found |= {f"{at}.{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
        layers = {
            "self_attn.q_proj": (form.queries, width),
            "self_attn.k_proj": (form.keys, width),
            "self_attn.v_proj": (form.keys, width),
            "self_attn.o_proj": (width, form.queries),
            "mlp.gate_proj": (hidden, width),
            "mlp.up_proj": (hidden, width),
            "mlp.down_proj": (width, hidden),
        }
        for name, shape in layers.items():
            biased = form.attention_biases if name.startswith("self_attn") else form.network_biases
            found |= _pair(f"{at}.{name}", shape) if biased else {f"{at}.{name}.weight": shape}
    return found


_SHAPES = {"bert": _bert_shapes, "roberta": _bert_shapes, "gpt2": _gpt2_shapes, "llama": _llama_shapes}


def _pair(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def stored_names(family: str, wanted: Iterable[str], present: Collection[str]) -> dict[str, str]:
    """Under which name a checkpoint holds each wanted tensor: with the family's prefix or without, old names of norms too.

    Raises:
        Unsupported: one is missing.
    """
    found = {}
    for name in wanted:
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        places = (name, _PREFIXES[family] + name, old, _PREFIXES[family] + old)
        place = next((place for place in places if place in present), None)
        if place is None:
            raise Unsupported(f"Its weights lack the tensor {name}.")
        found[name] = place
    return found


def check_tensors(described: Described, present: Mapping[str, Any]) -> None:
    """Look whether a checkpoint is of this model.

    Args:
        present: tensors by name, each with ``shape`` and ``dtype`` (as safetensors writes it).

    Raises:
        Unsupported: a tensor is missing, has another shape, or is quantised; or one belongs to a layer that mixes records.
    """
    mixing = next((name for name in present if name.endswith("running_mean")), None)
    if mixing:
        raise Unsupported(f"It has BatchNorm ({mixing}), which mixes records and would void the guarantee.")
    wanted = shapes(described)
    for name, place in stored_names(described.form.family, wanted, present.keys()).items():
        tensor = present[place]
        if tensor.dtype not in _NUMBERS:
            raise Unsupported(
                f"Its tensor {place} is quantised or no tensor of weights ({tensor.dtype}); take the model with its full weights."
            )
        if tuple(tensor.shape) != wanted[name]:
            raise Unsupported(
                f"Its tensor {place} has shape {tuple(tensor.shape)}, and its config.json says {wanted[name]}."
            )


def _size(config: Mapping, name: str, usual: int | None = None) -> int:
    value = config.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Unsupported(f"{name}={value!r} in its config.json is no size of at least 1.")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(config: Mapping, name: str, usual: float) -> float:
    value = config.get(name, usual)
    if not _is_number(value) or not 0 <= value < 1:
        raise Unsupported(f"{name}={value!r} in its config.json is no number from 0 to 1.")
    return float(value)


def _flag(config: Mapping, name: str, usual: bool) -> bool:
    value = config.get(name, usual)
    if not isinstance(value, bool):
        raise Unsupported(f"{name}={value!r} in its config.json is neither true nor false.")
    return value


def _id(config: Mapping, name: str, vocabulary: int, usual: int) -> int:
    value = config.get(name, usual)
    # Some have several ends; the first one is the end of a text.
    value = value[0] if isinstance(value, list) and value else value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < vocabulary:
        raise Unsupported(f"{name}={value!r} in its config.json is no token of the {vocabulary:,} that it has.")
    return value


def _edges(config: Mapping, vocabulary: int, begin: int, end: int) -> tuple[int, int]:
    """Ids of beginning and end; where a model has no beginning, the end before a text is one."""
    last = _id(config, "eos_token_id", vocabulary, end)
    if config.get("bos_token_id", _MISSING) is None:
        return last, last
    return _id(config, "bos_token_id", vocabulary, begin), last


def _activation(config: Mapping, name: str, usual: str) -> str:
    value = config.get(name, usual)
    if value not in _ACTIVATIONS:
        raise Unsupported(f"{name}={value!r} is unknown here; supported are {', '.join(_ACTIVATIONS)}.")
    return value


def _context(own: int) -> int:
    if own < _FEWEST_TOKENS:
        raise Unsupported(f"It reads only {own} tokens of a text; at least {_FEWEST_TOKENS} are needed.")
    return min(own, MOST_TOKENS)


def _divides(width: int, heads: int) -> None:
    if width % heads:
        raise Unsupported(f"Its width of {width} is no multiple of its {heads} heads.")
