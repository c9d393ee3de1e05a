"""Which tensors a model of each family must hold, under which names, in which shapes. Torch-free."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from privlab.models.configfile import Unsupported
from privlab.models.families import TASKS, Described
from privlab.models.forms import Transformer

#: Kinds of numbers that become float32.
_NUMBERS = ("F64", "F32", "F16", "BF16")
#: What a checkpoint may put before the names of the body's tensors.
_PREFIXES = {"bert": "bert.", "roberta": "roberta.", "gpt2": "transformer.", "llama": "model."}
HEAD = "lm_head.weight"


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
