"""Transformers of the transformers library, tiny and with random weights, in full and with LoRA adapters of peft."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor, nn

from privlab.dpsgd.layers.rules import FORWARDS, RULES, rule_for
from privlab.dpsgd.methods import gradients_for
from tests.onerecord import Net, check

_WHY = "transformers and peft are optional: pip install -r requirements-language.txt"
transformers = pytest.importorskip("transformers", reason=_WHY)
peft = pytest.importorskip("peft", reason=_WHY)

CLASSES, WORDS, PLACES, RECORDS = 3, 40, 7, 6
PLAIN = {"num_labels": CLASSES, "vocab_size": WORDS, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LAYERS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
BERT = {
    **PLAIN,
    **LAYERS,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 16,
}
LLAMA = {**PLAIN, **LAYERS, "num_key_value_heads": 1, "max_position_embeddings": 16}
GPT2 = {
    **PLAIN,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 16,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}
DISTILBERT = {
    **PLAIN,
    "dim": 16,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 24,
    "max_position_embeddings": 16,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "seq_classif_dropout": 0.0,
}

#: Family, its options, and the layers that LoRA adapts.
FAMILIES = {
    "Bert": (BERT, ["query", "value"]),
    "Roberta": (BERT, ["query", "value"]),
    "DistilBert": (DISTILBERT, ["q_lin", "v_lin"]),
    "Llama": (LLAMA, ["q_proj", "v_proj", "down_proj"]),
    "Mistral": (LLAMA, ["q_proj", "v_proj"]),
    "Qwen2": (LLAMA, ["q_proj", "v_proj"]),
    "Qwen3": ({**LLAMA, "head_dim": 8}, ["q_proj", "v_proj"]),
    "GPT2": (GPT2, ["c_attn"]),
}


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def made(kind: str, options: dict) -> nn.Module:
    """A model such as ``BertForMaskedLM``, its parameters in general position."""
    family = kind.partition("For")[0].removesuffix("LMHeadModel")
    model = getattr(transformers, kind)(getattr(transformers, f"{family}Config")(**options))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def sentences() -> tuple[Tensor, Tensor]:
    return torch.randint(3, WORDS, (RECORDS, PLACES)), torch.randint(0, CLASSES, (RECORDS,))


def logits(model: nn.Module, **options) -> nn.Module:
    """The model from ids to its logits."""
    return Net(lambda parts, ids: parts[0](input_ids=ids, **options).logits, model)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_of_a_classifier(family: str) -> None:
    model = logits(made(f"{family}ForSequenceClassification", FAMILIES[family][0]))
    assert gradients_for("one-pass", model, 1.0).fallbacks == []
    check(model, *sentences(), physical=4)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft asks transformers for it
@pytest.mark.parametrize("family", FAMILIES)
def test_lora_and_a_head_beside_frozen_weights(family: str) -> None:
    options, layers = FAMILIES[family]
    config = peft.LoraConfig(
        r=3,
        lora_alpha=4,
        target_modules=layers,
        task_type="SEQ_CLS",
        init_lora_weights=False,
        fan_in_fan_out=family == "GPT2",
    )
    model = logits(peft.get_peft_model(made(f"{family}ForSequenceClassification", options), config))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert any("lora_A" in name for name in trained) and not any("embed" in name for name in trained)
    check(model, *sentences(), physical=4)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("GPT2LMHeadModel", GPT2),
        ("BertForMaskedLM", BERT),
        ("RobertaForMaskedLM", BERT),
        ("LlamaForCausalLM", {**LLAMA, "tie_word_embeddings": True}),
    ],
)
@pytest.mark.parametrize("mode", ["flat", "per-layer"])
def test_embedding_that_is_the_head_too(kind: str, options: dict, mode: str) -> None:
    model = made(kind, options)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    check(Net(lambda parts, ids: parts[0](input_ids=ids).logits[:, -1, :CLASSES], model), *sentences(), mode=mode)


def test_dinov2_layer_scale() -> None:
    kind = importlib.import_module("transformers.models.dinov2.modeling_dinov2").Dinov2LayerScale
    layer = kind(transformers.Dinov2Config(hidden_size=8, layerscale_value=0.5))
    x, y = torch.randn(RECORDS, PLACES, 8), torch.randint(0, CLASSES, (RECORDS,))
    check(Net(lambda parts, x: parts[1](parts[0](x).tanh().mean(1)), layer, nn.Linear(8, CLASSES)), x, y)


@pytest.mark.parametrize("name", [name for name in RULES if isinstance(name, str) and name.endswith("Norm")])
def test_norms_by_name(name: str) -> None:
    module, _, kind = name.rpartition(".")
    layer = getattr(importlib.import_module(module), kind)(8, eps=0.01)
    nn.init.normal_(layer.weight)
    x, y = torch.randn(RECORDS, PLACES, 8), torch.randint(0, CLASSES, (RECORDS,))
    check(Net(lambda parts, x: parts[1](parts[0](x).tanh().mean(1)), layer, nn.Linear(8, CLASSES)), x, y)


def test_every_name_is_that_of_a_layer() -> None:
    for name in (name for name in (*RULES, *FORWARDS) if isinstance(name, str)):
        module, _, kind = name.rpartition(".")
        layer = getattr(importlib.import_module(module), kind)
        assert issubclass(layer, nn.Module) and rule_for(layer.__new__(layer)) is RULES[name]
