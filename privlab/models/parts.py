"""Which part of a transformer trains. What does not is as it was built, from a seed or from packaged weights."""

from __future__ import annotations

from torch import nn


def choose_part(model: nn.Module, trains: str, lora_rank: int) -> None:
    """Let ``trains`` train and nothing else.

    Args:
        model: has ``blocks``, ``norm`` and ``head``; modules that it names in ``fixed`` never train.
        trains: ``all`` that may; ``head``; ``last``, the last block, what follows it and the head; ``bias``, biases and the head
            (Ben Zaken et al. 2022, arXiv:2106.10199); ``lora``, adapters and the head (Hu et al. 2022, arXiv:2106.09685).
        lora_rank: directions of each adapter.
    """
    if trains != "all":
        model.requires_grad_(False)
        model.head.requires_grad_(True)
    if trains == "last":
        model.blocks[-1].requires_grad_(True)
        model.norm.requires_grad_(True)
    elif trains == "bias":
        for name, p in model.named_parameters():
            p.requires_grad_(p.requires_grad or name.endswith("bias"))
    elif trains == "lora":
        _adapt(model.blocks, lora_rank)
    for name in getattr(model, "fixed", ()):
        getattr(model, name).requires_grad_(False)


def _adapt(blocks: nn.Module, rank: int) -> None:
    """Every linear layer gets an adapter."""
    # Optional and slow to import.
    from peft import LoraConfig, inject_adapter_in_model

    linear = [name for name, layer in blocks.named_modules() if isinstance(layer, nn.Linear)]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear), blocks)
