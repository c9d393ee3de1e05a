"""What a config.json of a model says, value by value. Torch-free.

Each value that is not taken here is refused by name: every function raises :class:`Unsupported`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Unsupported(Exception):
    """A model that PrivLab does not take. The message is a sentence that says why and what it takes."""


#: Tokens of a text that an added model reads at most: the cost of attention grows with their square.
MOST_TOKENS = 128
_FEWEST_TOKENS = 4
#: Activations of the package transformers that look at one number at a time.
_ACTIVATIONS = (
    *("gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh", "quick_gelu"),
    *("relu", "silu", "swish", "tanh"),
)
#: Ways to turn places that do not depend on the texts of a batch.
_TURNS = ("default", "linear", "llama3")
_MISSING = object()


def size(config: Mapping, name: str, usual: int | None = None) -> int:
    """A whole number of at least 1."""
    value = config.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Unsupported(f"{name}={value!r} in its config.json is no size of at least 1.")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(config: Mapping, name: str, usual: float) -> float:
    """A number from 0 to 1, 1 excluded."""
    value = config.get(name, usual)
    if not _is_number(value) or not 0 <= value < 1:
        raise Unsupported(f"{name}={value!r} in its config.json is no number from 0 to 1.")
    return float(value)


def flag(config: Mapping, name: str, usual: bool) -> bool:
    """True or false."""
    value = config.get(name, usual)
    if not isinstance(value, bool):
        raise Unsupported(f"{name}={value!r} in its config.json is neither true nor false.")
    return value


def token(config: Mapping, name: str, vocabulary: int, usual: int) -> int:
    """Id of a token."""
    value = config.get(name, usual)
    # Some have several ends; the first one is the end of a text.
    value = value[0] if isinstance(value, list) and value else value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < vocabulary:
        raise Unsupported(f"{name}={value!r} in its config.json is no token of the {vocabulary:,} that it has.")
    return value


def edges(config: Mapping, vocabulary: int, begin: int, end: int) -> tuple[int, int]:
    """Ids of beginning and end; where a model has no beginning, the end before a text is one."""
    last = token(config, "eos_token_id", vocabulary, end)
    if config.get("bos_token_id", _MISSING) is None:
        return last, last
    return token(config, "bos_token_id", vocabulary, begin), last


def activation(config: Mapping, name: str, usual: str) -> str:
    """Name of an activation that looks at one number at a time."""
    value = config.get(name, usual)
    if value not in _ACTIVATIONS:
        raise Unsupported(f"{name}={value!r} is unknown here; supported are {', '.join(_ACTIVATIONS)}.")
    return value


def context(own: int) -> int:
    """Tokens of a text that a model is given, where it could read ``own``."""
    if own < _FEWEST_TOKENS:
        raise Unsupported(f"It reads only {own} tokens of a text; at least {_FEWEST_TOKENS} are needed.")
    return min(own, MOST_TOKENS)


def check_heads(width: int, heads: int) -> None:
    """Whether each head gets the same share of the width."""
    if width % heads:
        raise Unsupported(f"Its width of {width} is no multiple of its {heads} heads.")


def rotation(config: Mapping) -> dict[str, Any]:
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
