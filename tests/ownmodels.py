"""Small pretrained transformers in folders, as somebody would bring them: random weights, and a tokenizer of a few lines."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

LINES = [
    "Free entry in a weekly competition to win tickets, text WIN to claim",
    "I am on my way home, see you at six for dinner",
    "Call now to claim your prize, it is guaranteed",
    "Sorry, I was asleep and did not see your message until now",
]
WIDTH = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
#: Sizes of each family, whose vocabulary the tokenizer decides.
SIZES = {
    "bert": {**WIDTH, "intermediate_size": 24, "max_position_embeddings": 40},
    "roberta": {**WIDTH, "intermediate_size": 24, "max_position_embeddings": 40, "type_vocab_size": 1},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40, "n_inner": 24},
    "llama": {
        **WIDTH,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 40,
    },
}


@cache
def tokenizer(family: str) -> Tokenizer:
    """The same each time, for training one breaks ties by chance. WordPiece for BERT, byte pairs for the others, with each family's special pieces in its own places."""
    if family == "bert":
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        made.train_from_iterator(LINES, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
        made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        made.decoder = decoders.WordPiece()
        return made
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = {"roberta": ["<s>", "<pad>", "</s>"], "gpt2": ["<|endoftext|>"], "llama": ["<unk>", "<s>", "</s>"]}[
        family
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(LINES, trainer)
    if family == "roberta":
        made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


def model(family: str, vocabulary: int, **settings):
    """The package transformers' own model with its head, in evaluation mode; weights so large that every one matters."""
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        RobertaConfig,
        RobertaForMaskedLM,
    )

    config, made = {
        "bert": (BertConfig, BertForMaskedLM),
        "roberta": (RobertaConfig, RobertaForMaskedLM),
        "gpt2": (GPT2Config, GPT2LMHeadModel),
        "llama": (LlamaConfig, LlamaForCausalLM),
    }[family]
    # The end of GPT-2's texts is the first of these tokenizers' pieces.
    ends = {"bos_token_id": 0, "eos_token_id": 0} if family == "gpt2" else {}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        built = made(config(vocab_size=vocabulary, **(SIZES[family] | ends | settings))).eval()
        for p in built.parameters():
            torch.nn.init.normal_(p, mean=1.0 if p.dim() == 1 else 0.0, std=0.2)
    return built


def folder(place: Path, family: str, *, shards: int = 1, **settings) -> Path:
    """``place`` with such a model in it, in so many safetensors files."""
    tokens = tokenizer(family)
    built = model(family, tokens.get_vocab_size(), **settings)
    size = sum(p.numel() * p.element_size() for p in built.parameters())
    built.save_pretrained(place, max_shard_size=size if shards == 1 else size // shards)
    tokens.save(str(place / "tokenizer.json"))
    return place
