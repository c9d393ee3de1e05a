"""A small GPT of plain PyTorch layers, and LoRA on it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

#: Bytes as tokens; 2.8 million parameters in all.
VOCABULARY, CONTEXT, WIDTH, HEADS, BLOCKS = 256, 64, 192, 6, 6


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.bend = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(seen.transpose(1, 2).reshape(n, tokens, WIDTH))
        return x + self.down(self.bend(self.up(self.norm2(x))))


class Gpt(nn.Module):
    """Ids (n, 64) → logits (n, 256) of the token that follows: one prediction, and so one loss, a record."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(_Block() for _ in range(BLOCKS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        # Written out for each record: Opacus takes neither positions without a batch nor, as ghost, an expanded index.
        places = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape).contiguous()
        return self.head(self.norm(self.blocks(self.token(ids) + self.position(places)))[:, -1])


class _Lora(nn.Module):
    """A frozen linear layer plus a trained one of rank r (Hu et al. 2021, arXiv:2106.09685)."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.a, self.b = nn.Linear(base.in_features, rank, bias=False), nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.b(self.a(x))


def with_lora(gpt: Gpt, rank: int = 8) -> Gpt:
    """``gpt`` with all weights frozen and an adapter on each of the four linear layers of every block."""
    gpt.requires_grad_(False)
    for block in gpt.blocks:
        for name in ("qkv", "project", "up", "down"):
            setattr(block, name, _Lora(getattr(block, name), rank))
    return gpt
