"""The file format of llama2.c (Karpathy 2023): weights of a Llama and its tokenizer. Torch-free.

A header of seven int32, weights in float32 in a fixed order, and then 32,000 pieces of text, each with its score.
"""

from __future__ import annotations

import struct
from math import prod

import numpy as np

_HEADER = struct.Struct("<7i")
_LONGEST = struct.Struct("<i")
_PIECE = struct.Struct("<fi")
#: Ids 0, 1, 2 are “unknown”, “beginning” and “end”; then comes one id for each byte.
_SPECIAL = ("<unk>", "<s>", "</s>")
_FIRST_PIECE = 3 + 256
#: As SentencePiece writes a space.
_SPACE = "▁"


class FormatError(ValueError):
    """The bytes are not such a file. The message says what is wrong, as a phrase."""


def parse(raw: bytes) -> tuple[dict, dict[str, np.ndarray], dict]:
    """Settings as transformers' LlamaConfig takes them, weights by the names of its LlamaModel, and tokenizer.json.

    The head is the table of the tokens, so it is not listed.

    Raises:
        FormatError: the file is cut short, or no such file.
    """
    if len(raw) < _HEADER.size:
        raise FormatError("it is shorter than its header")
    width, hidden, blocks, heads, key_heads, vocabulary, context = _HEADER.unpack_from(raw)
    if min(width, hidden, blocks, heads, key_heads, vocabulary, context) <= 0 or width % (2 * heads):
        raise FormatError("its header holds no sizes of a model")
    if key_heads != heads:
        raise FormatError(f"it shares keys among heads ({key_heads} for {heads}), which is not read here")
    square, half = (blocks, width, width), width // heads // 2
    shapes = {
        "embed_tokens": (vocabulary, width),
        "input_layernorm": (blocks, width),
        **dict.fromkeys(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"), square),
        "post_attention_layernorm": (blocks, width),
        "mlp.gate_proj": (blocks, hidden, width),
        "mlp.down_proj": (blocks, width, hidden),
        "mlp.up_proj": (blocks, hidden, width),
        "norm": (width,),
        # Cosines and sines of the places, which are computed again.
        "cosines": (context, half),
        "sines": (context, half),
    }
    found, at = {}, _HEADER.size
    for name, shape in shapes.items():
        end = at + 4 * prod(shape)
        if end > len(raw):
            raise FormatError(f"it ends within the weights of {name}")
        found[name] = np.frombuffer(raw, "<f4", prod(shape), at).reshape(shape)
        at = end
    tensors = {"embed_tokens.weight": found["embed_tokens"], "norm.weight": found["norm"]}
    for name, all_blocks in found.items():
        if name in ("embed_tokens", "norm", "cosines", "sines"):
            continue
        for block, weight in enumerate(all_blocks):
            turned = name in ("self_attn.q_proj", "self_attn.k_proj")
            tensors[f"layers.{block}.{name}.weight"] = _halves(weight, heads) if turned else weight
    config = {
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return config, {name: np.ascontiguousarray(t) for name, t in tensors.items()}, tokenizer(raw[at:], vocabulary)


def _halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head as transformers turns them: llama2.c turns row 2i with 2i + 1, transformers row i with i + d/2."""
    outputs, inputs = weight.shape
    return weight.reshape(heads, outputs // heads // 2, 2, inputs).swapaxes(1, 2).reshape(outputs, inputs)


def tokenizer(raw: bytes, vocabulary: int) -> dict:
    """tokenizer.json of the package tokenizers: byte pairs by score (Sennrich et al. 2016, arXiv:1508.07909), else bytes.

    What a text spells like a special piece, as “<s>”, stays text: no merge leads to it.

    Raises:
        FormatError: the pieces are cut short.
    """
    pieces, scores = list(_SPECIAL) + [f"<0x{byte:02X}>" for byte in range(256)], [0.0] * _FIRST_PIECE
    at = _LONGEST.size
    for number in range(vocabulary):
        if at + _PIECE.size > len(raw):
            raise FormatError(f"its tokenizer ends after {number:,} of {vocabulary:,} pieces")
        score, length = _PIECE.unpack_from(raw, at)
        text = raw[at + _PIECE.size : at + _PIECE.size + length]
        at += _PIECE.size + length
        if number >= _FIRST_PIECE:
            pieces.append(text.decode("utf-8", "replace").replace(" ", _SPACE))
            scores.append(score)
    ids = {piece: number for number, piece in enumerate(pieces)}
    if len(ids) != vocabulary:
        raise FormatError(f"its tokenizer has {vocabulary - len(ids):,} pieces twice")
    merges = [
        (-scores[number], number, [piece[:cut], piece[cut:]])
        for number, piece in enumerate(pieces[_FIRST_PIECE:], _FIRST_PIECE)
        for cut in range(1, len(piece))
        if piece[:cut] in ids and piece[cut:] in ids
    ]
    before = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    after = {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "}
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": _SPACE}, before]},
        "decoder": {
            "type": "Sequence",
            "decoders": [
                after,
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": ids,
            "merges": [pair for *_, pair in sorted(merges, key=lambda merge: merge[:2])],
        },
    }
