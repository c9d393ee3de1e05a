"""Which rule belongs to which kind of layer. A new kind of layer: a file beside this one, and its line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opacus.layers.dp_multihead_attention import SequenceBias
from opacus.layers.dp_rnn import DPGRU, DPLSTM, DPRNN, RNNLinear
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from privlab.dpsgd.guards import opacus_knows
from privlab.dpsgd.layers.attention import attention, attention_misfit
from privlab.dpsgd.layers.convolution import convolution
from privlab.dpsgd.layers.embedding import embedding, embedding_misfit
from privlab.dpsgd.layers.linear import linear, linear_transposed
from privlab.dpsgd.layers.normalisation import group_norm, instance_norm, instance_norm_misfit, layer_norm, rms_norm
from privlab.dpsgd.layers.opacus import by_opacus
from privlab.dpsgd.layers.scale import last_place, scaled
from privlab.dpsgd.layers.uses import Use

#: ``rule(layer, came, back, n)``: what went into the layer and the gradient at what came out, both (n·K, …) for K views of each
#: of n records in a row, in which a record's gradient is the sum over its rows. It yields each use of a trained parameter.
Rule = Callable[[nn.Module, Tensor, Tensor, int], Iterable[Use]]


def leaves_use(layer: nn.Module, came: Tensor, back: Tensor, n: int) -> Iterable[Use]:
    """Layers that own parameters and leave their use to layers inside of them, which share them."""
    return ()


#: By the layer's type and nothing derived from it, which might compute something else; by full name where the type belongs to
#: a package that need not be installed.
RULES: dict[type[nn.Module] | str, Rule] = {
    nn.Linear: linear,
    NonDynamicallyQuantizableLinear: linear,
    RNNLinear: linear,
    **dict.fromkeys((DPRNN, DPGRU, DPLSTM), leaves_use),
    nn.Conv1d: convolution,
    nn.Conv2d: convolution,
    nn.Conv3d: convolution,
    nn.Embedding: embedding,
    nn.LayerNorm: layer_norm,
    nn.RMSNorm: rms_norm,
    nn.InstanceNorm1d: instance_norm,
    nn.InstanceNorm2d: instance_norm,
    nn.InstanceNorm3d: instance_norm,
    SequenceBias: last_place("bias"),
    "transformers.pytorch_utils.Conv1D": linear_transposed,
    **{
        f"transformers.models.{model}.modeling_{model}.{kind}": rms_norm
        for model, kind in (
            ("llama", "LlamaRMSNorm"),
            ("mistral", "MistralRMSNorm"),
            ("mixtral", "MixtralRMSNorm"),
            ("qwen2", "Qwen2RMSNorm"),
            ("qwen3", "Qwen3RMSNorm"),
            ("phi3", "Phi3RMSNorm"),
            ("granite", "GraniteRMSNorm"),
            ("olmo2", "Olmo2RMSNorm"),
            ("gemma", "GemmaRMSNorm"),
            ("gemma2", "Gemma2RMSNorm"),
            ("gemma3", "Gemma3RMSNorm"),
            ("t5", "T5LayerNorm"),
            ("mt5", "MT5LayerNorm"),
        )
    },
    "transformers.models.dinov2.modeling_dinov2.Dinov2LayerScale": scaled("lambda1"),
    "transformers.models.bert.modeling_bert.BertLMPredictionHead": leaves_use,
    "transformers.models.roberta.modeling_roberta.RobertaLMHead": leaves_use,
}

#: ``forward(layer, tap, *args, **kwargs)``: how a layer computes while it is looked at, for layers that use parameters in more
#: than one place, or whose forward pass finds what their rule needs. It computes what the layer does, and hands every use of a
#: parameter to ``tap(rule, came, output, parameters) -> output``: the rule of that use, what went in and what came out, both
#: with the records first. Layers inside of it that are called are looked at as ever.
Forward = Callable[..., object]
FORWARDS: dict[type[nn.Module] | str, Forward] = {
    nn.GroupNorm: group_norm,
    nn.MultiheadAttention: attention,
}

#: Why a layer of such a kind, or of one derived from it, is refused all the same, or None: whatever trains in it.
MISFITS: dict[type[nn.Module], Callable[[nn.Module], str | None]] = {
    nn.Embedding: embedding_misfit,
    nn.InstanceNorm1d: instance_norm_misfit,
    nn.InstanceNorm2d: instance_norm_misfit,
    nn.InstanceNorm3d: instance_norm_misfit,
    nn.MultiheadAttention: attention_misfit,
}

#: Kinds that may be handed one row for all records, as position embeddings are: the row is then repeated for each.
REPEATABLE = (nn.Embedding,)


def _found(table: dict, layer: nn.Module):
    kind = type(layer)
    return table.get(kind) or table.get(f"{kind.__module__}.{kind.__qualname__}")


def rule_for(layer: nn.Module) -> Rule | None:
    """The layer's own rule, else Opacus's, else None."""
    return _found(RULES, layer) or (
        by_opacus if opacus_knows(layer) and not isinstance(layer, nn.EmbeddingBag) else None
    )


def forward_for(layer: nn.Module) -> Forward | None:
    """How the layer computes while it is looked at, if it has a way of its own."""
    return _found(FORWARDS, layer)


def knows(layer: nn.Module) -> bool:
    """Whether there is an exact rule for the parameters that a layer owns."""
    return rule_for(layer) is not None or forward_for(layer) is not None


def misfit(layer: nn.Module) -> str | None:
    """Why a layer has no gradient of one record as it is set, or None."""
    return next((reason for kind, find in MISFITS.items() if isinstance(layer, kind) and (reason := find(layer))), None)


def falls_back(layer: nn.Module) -> bool:
    """Whether Opacus's rule has to do."""
    return forward_for(layer) is None and rule_for(layer) is by_opacus


def forms(layer: nn.Module) -> bool:
    """Whether gradients of single records are formed that are as large as the layer's matrices."""
    return falls_back(layer) or isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
