"""``nn.MultiheadAttention``: its projections are no layers of their own, so it computes step by step while it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.layers.linear import Product
from privlab.dpsgd.layers.uses import Formed, Rows, Use, over_records

#: Hands a use of parameters on: (rule, what went in, what came out, parameters) → what came out.
Tap = Callable[[Callable, Tensor, Tensor, tuple[nn.Parameter | None, ...]], Tensor]


def attention(
    layer: nn.MultiheadAttention,
    tap: Tap,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What ``layer(query, key, value, …)`` computes: softmax(q·kᵀ/√d + mask)·v of each head (Vaswani et al. 2017).

    Raises:
        MechanismError: a query without an axis of records.
    """
    if query.dim() != 3:
        raise MechanismError(f"MultiheadAttention got a query of {query.dim()} axes; records are an axis of three.")
    n = query.shape[0 if layer.batch_first else 1]
    q, k, v = (_in_heads(part, layer.num_heads) for part in _projected(layer, tap, query, key, value))
    mask = _mask(layer, q, attn_mask, key_padding_mask)
    dropped = layer.dropout if layer.training else 0.0
    weights = None
    if need_weights:
        scores = q @ k.mT / layer.head_dim**0.5
        weights = torch.softmax(scores if mask is None else scores + mask, -1)
        weights = functional.dropout(weights, dropped, dropped > 0)
        mixed = weights @ v
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        # torch itself takes the hint in place of the mask.
        hint = is_causal and key_padding_mask is None
        mixed = functional.scaled_dot_product_attention(q, k, v, None if hint else mask, dropped, hint)
    output = layer.out_proj(mixed.transpose(1, 2).reshape(n, -1, layer.embed_dim))
    return output if layer.batch_first else output.transpose(0, 1), weights


def attention_misfit(layer: nn.MultiheadAttention) -> str | None:
    """Why the layer cannot be looked at, or None."""
    for name, value in (("add_bias_kv", layer.bias_k is not None), ("add_zero_attn", layer.add_zero_attn)):
        if value:
            return f"{name}=True is not supported in private training"
    return None


def _projected(layer: nn.MultiheadAttention, tap: Tap, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
    """Queries, keys and values, records first."""
    size, bias = layer.embed_dim, layer.in_proj_bias
    inputs = [part if layer.batch_first else part.transpose(0, 1) for part in (query, key, value)]
    if query is key and key is value and layer.in_proj_weight is not None:
        rule = _projection(layer.in_proj_weight, bias, 0, 3 * size)
        output = functional.linear(inputs[0], layer.in_proj_weight, bias)
        return list(tap(rule, inputs[0], output, (layer.in_proj_weight, bias)).chunk(3, -1))
    projected = []
    for i, (came, own) in enumerate(
        zip(inputs, (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight), strict=True)
    ):
        first = i * size
        weight = layer.in_proj_weight[first : first + size] if own is None else own
        output = functional.linear(came, weight, None if bias is None else bias[first : first + size])
        whole = layer.in_proj_weight if own is None else own
        projected.append(tap(_projection(whole, bias, first, size), came, output, (whole, bias)))
    return projected


def _projection(weight: nn.Parameter, bias: nn.Parameter | None, first: int, count: int) -> Callable:
    """The rule of one projection, by ``count`` rows of the weight (or all it has) and of the bias."""

    def rule(layer: nn.Module, came: Tensor, back: Tensor, n: int) -> Iterator[Use]:
        came, back = over_records(came, n), over_records(back, n)
        uses = [(weight, Product(weight, came, back))]
        if bias is not None:
            uses.append((bias, Formed(bias, back.sum(1))))
        for parameter, use in uses:
            if parameter.requires_grad:
                yield use if len(parameter) == count else Rows(use, first, count)

    return rule


def _in_heads(rows: Tensor, heads: int) -> Tensor:
    return rows.unflatten(-1, (heads, -1)).transpose(1, 2)


def _mask(
    layer: nn.MultiheadAttention, q: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None
) -> Tensor | None:
    """Both masks as numbers to add, broadcast over (n, heads, queries, keys)."""
    attn_mask, key_padding_mask = (_added(mask, q.dtype) for mask in (attn_mask, key_padding_mask))
    if attn_mask is not None and attn_mask.dim() == 3:
        attn_mask = attn_mask.unflatten(0, (-1, layer.num_heads))
    if key_padding_mask is None:
        return attn_mask
    padding = key_padding_mask[:, None, None]
    return padding if attn_mask is None else attn_mask + padding


def _added(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    if mask is None or mask.dtype != torch.bool:
        return mask if mask is None else mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf"))
