"""Pretrained transformers: one record's gradient for each record by every method, and the weights that were published.

Gradients are looked at on small random models of the same kinds; what was published is looked at where it was fetched.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from opacus.validators import ModuleValidator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel

from privlab import paths
from privlab.data.catalogue import DATASETS
from privlab.data.load import DataMissing
from privlab.data.texts import Texts
from privlab.data.weightfiles import CONFIG, TENSORS
from privlab.data.weights import WEIGHTS
from privlab.dpsgd.guards import MechanismError
from privlab.models import embeddings as embedding
from privlab.models import features, packaged
from privlab.models.build import build
from privlab.models.catalogue import MODELS, TRANSFORMERS
from privlab.models.embeddings import embeddings
from privlab.models.kept import Features
from privlab.models.parts import choose_part
from privlab.models.pretrained import Bert, Llama, bert, llama
from privlab.models.sizes import EMBEDDED_TOKENS, parameters
from privlab.models.tokens import Pieces, WordPieces, encode, tokenizer
from tests.onerecord import check

PLAIN = {"attn_implementation": "eager", "use_cache": False}
SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
BERT = {"vocab_size": 50, "max_position_embeddings": 12, "pad_token_id": 0, **SIZES}
LLAMA = {
    "vocab_size": 40,
    "max_position_embeddings": 12,
    **SIZES,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
CASES = [
    (kind, part, method)
    for kind, key in (("bert", "minilm"), ("llama", "tinystories"))
    for part in MODELS[key].trains
    for method in ("one-pass", "hooks", "ghost")
]


def body(kind: str) -> nn.Module:
    if kind == "llama":
        return LlamaModel(LlamaConfig(**LLAMA, **PLAIN))
    return BertModel(
        BertConfig(**BERT, **PLAIN, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), add_pooling_layer=False
    )


def small(kind: str, part: str = "all", rank: int = 3) -> nn.Module:
    """A random model whose every trained parameter matters, also adapters that begin at zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Llama(body(kind)) if kind == "llama" else Bert(body(kind), 3)
        choose_part(model, part, rank)
        for p in model.parameters():
            nn.init.normal_(p, mean=1.0 if p.dim() == 1 else 0.0, std=0.2)
    return model


def records(kind: str, n: int = 6) -> tuple[Tensor, Tensor]:
    """Texts of 3 to 9 tokens, filled up to 9."""
    source = torch.Generator().manual_seed(1)
    x = torch.randint(1, 40, (n, 10), generator=source)
    there = torch.arange(10) < torch.randint(4, 11, (n, 1), generator=source)
    x = x.masked_fill(~there, 0)
    if kind == "bert":
        return x, torch.randint(3, (n,), generator=source)
    return x[:, :-1].contiguous(), x[:, 1:].masked_fill(~there[:, 1:], -100)


@pytest.mark.parametrize(("kind", "part", "method"), CASES)
def test_every_method_finds_each_records_own_gradient(kind: str, part: str, method: str) -> None:
    check(small(kind, part), *records(kind), method=method, room=1e-4)


def test_a_wrong_gradient_would_show() -> None:
    """The comparison above has teeth: a layer that leaks from one record to the next is found out."""

    class Leaking(nn.Module):
        def forward(self, states: Tensor) -> Tensor:
            return states + 0.1 * states.roll(1, 0)

    model = small("bert", "last")
    model.norm = Leaking()
    with pytest.raises((AssertionError, MechanismError)):
        check(model, *records("bert"))


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_opacus_finds_nothing_wrong_and_nothing_drops_out(kind: str) -> None:
    model = small(kind)
    assert ModuleValidator.validate(model, strict=False) == []
    assert not any(isinstance(layer, nn.Dropout) and layer.p for layer in model.modules())


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_record_does_not_see_its_neighbours(kind: str) -> None:
    model, (x, _) = small(kind), records(kind)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]), rtol=1e-4, atol=1e-5)


def test_it_computes_what_transformers_computes() -> None:
    x, _ = records("bert")
    there = (x != 0).long()
    own, theirs = small("bert"), body("bert")
    names = {"embeddings": own.embeddings, "encoder.layer": own.blocks}
    theirs.load_state_dict({f"{at}.{k}": v for at, part in names.items() for k, v in part.state_dict().items()})
    states = theirs(x, attention_mask=there).last_hidden_state
    mean = (states * there[..., None]).sum(1) / there.sum(1, keepdim=True)
    torch.testing.assert_close(own.pooled(x), mean, rtol=1e-4, atol=1e-5)

    x, _ = records("llama")
    own, theirs = small("llama"), body("llama")
    names = {"embed_tokens": own.embeddings, "layers": own.blocks, "norm": own.norm}
    theirs.load_state_dict({f"{at}.{k}": v for at, part in names.items() for k, v in part.state_dict().items()})
    expected = theirs(x).last_hidden_state @ own.embeddings.weight.T
    torch.testing.assert_close(own(x), expected, rtol=1e-4, atol=1e-5)


def test_padding_says_nothing_and_the_future_is_not_seen() -> None:
    model, (x, _) = small("bert"), records("bert")
    longer = nn.functional.pad(x, (0, 2))
    torch.testing.assert_close(model(x), model(longer), rtol=1e-4, atol=1e-5)
    assert model(torch.zeros(2, 5, dtype=torch.int64)).isfinite().all(), "a text of pads alone"
    model, (x, _) = small("llama"), records("llama")
    changed = x.clone()
    changed[:, 5:] = 7
    torch.testing.assert_close(model(x)[:, :5], model(changed)[:, :5])
    assert not torch.allclose(model(x)[:, 5:], model(changed)[:, 5:])


@pytest.mark.parametrize("key", ["minilm", "tinystories"])
@pytest.mark.parametrize("rank", [1, 8])
def test_as_many_parameters_train_as_the_catalogue_says(key: str, rank: int) -> None:
    """Of models with the catalogue's sizes and without memory."""
    form, data = TRANSFORMERS[key], "sms-spam" if key == "minilm" else "sms-messages"
    sizes = {
        "vocab_size": form.vocabulary,
        "hidden_size": form.width,
        "intermediate_size": form.hidden,
        "num_hidden_layers": form.blocks,
        "num_attention_heads": form.heads,
    }
    for part in MODELS[key].trains:
        with torch.device("meta"):
            if key == "minilm":
                model = Bert(BertModel(BertConfig(**sizes, **PLAIN), add_pooling_layer=False), 2)
            else:
                model = Llama(LlamaModel(LlamaConfig(**sizes, **PLAIN)))
            choose_part(model, part, rank)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert trained == parameters(key, data, part, rank), part


def test_published_tables_never_train() -> None:
    for kind, key in (("bert", "minilm"), ("llama", "tinystories")):
        for part in MODELS[key].trains:
            model = small(kind, part)
            assert not any(p.requires_grad for p in model.embeddings.parameters())
    model = small("llama", "last")
    assert model.head.weight is model.embeddings.weight and not model.head.weight.requires_grad


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small packaged weights in a PrivLab folder of their own."""
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))
    for key, kind, sizes in (("minilm", "bert", BERT), ("tinystories", "llama", LLAMA)):
        folder = paths.data_dir() / "weights" / key
        folder.mkdir(parents=True)
        # What a package states of dropout and caches is not followed.
        stated = {**sizes, "hidden_dropout_prob": 0.1, "use_cache": True} if kind == "bert" else sizes
        (folder / CONFIG).write_text(json.dumps({"model_type": kind, **stated}))
        torch.manual_seed(5)
        more = {"pooler.dense.bias": torch.zeros(16)}
        save_file({**body(kind).state_dict(), **more}, folder / TENSORS)
        (folder / "sha256.json").write_text("{}")
    return paths.data_dir() / "weights"


def test_packaged_weights_are_loaded_whatever_the_seed(made_up: Path) -> None:
    found = load_file(made_up / "minilm" / TENSORS)
    one = bert("minilm", 3)
    assert torch.equal(one.embeddings.word_embeddings.weight, found["embeddings.word_embeddings.weight"])
    assert torch.equal(one.blocks[1].output.dense.weight, found["encoder.layer.1.output.dense.weight"])
    assert not any(isinstance(layer, nn.Dropout) and layer.p for layer in one.modules())
    found = load_file(made_up / "tinystories" / TENSORS)
    assert torch.equal(llama("tinystories").norm.weight, found["norm.weight"])
    assert torch.equal(llama("tinystories").head.weight, found["embed_tokens.weight"])
    seven, eight = (build("minilm", DATASETS["sms-spam"], seed, "all") for seed in (7, 8))
    assert torch.equal(seven.blocks[0].output.dense.weight, eight.blocks[0].output.dense.weight)
    assert not torch.equal(seven.head.weight, eight.head.weight)
    assert torch.equal(seven.head.weight, build("minilm", DATASETS["sms-spam"], 7, "head").head.weight)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("cut short", "cannot be read"),
        ("a tensor less", "lack the tensor norm.weight"),
        ("other sizes", "size mismatch"),
    ],
)
def test_damaged_weights_are_named_with_what_to_do(made_up: Path, damage: str, said: str) -> None:
    file = made_up / "tinystories" / TENSORS
    tensors = load_file(file)
    if damage == "cut short":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "a tensor less":
        save_file({name: t.clone() for name, t in tensors.items() if name != "norm.weight"}, file)
    else:
        save_file({name: t[..., :-1].clone() for name, t in tensors.items()}, file)
    with pytest.raises(DataMissing, match=rf"(?s)Pretrained TinyStories-15M cannot be read.*{said}|{said}.*fetch tin"):
        llama("tinystories")


def test_weights_that_are_not_here_are_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    for ask in (lambda: llama("tinystories"), lambda: tokenizer("tinystories"), lambda: bert("minilm", 2), WordPieces):
        with pytest.raises(DataMissing, match=r"data fetch (tinystories|minilm)"):
            ask()


class Letters:
    """Texts as numbers of their letters, between two marks."""

    def ids(self, text: str) -> list[int]:
        return [1, *(ord(letter) % 40 + 2 for letter in text), 2]


def test_an_embedding_depends_on_its_own_text_alone() -> None:
    model, texts = small("bert").eval(), ("abc", "de", "fgh", "", "ij", "abc")
    together = embeddings(model, Letters(), texts)
    alone = torch.cat([embeddings(model, Letters(), [text]) for text in texts])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(6))
    assert torch.equal(together[0], together[5]) and not torch.allclose(together[0], together[2])


def test_embeddings_are_kept_for_these_texts_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    model, calls = small("bert").eval(), []

    def of(texts) -> Tensor:
        calls.append(tuple(texts))
        return embeddings(model, Letters(), texts)

    def ready(train: tuple[str, ...], version: str = "1") -> Tensor:
        made = Features("minilm", version, (16,), 2, of)
        monkeypatch.setitem(features._FEATURES, "minilm", lambda facts: made)
        y = torch.zeros(len(train), dtype=torch.int64)
        return features.prepare(Texts(DATASETS["sms-spam"], train, y, ("t",), y[:1]), "minilm-head").train_x

    first = ready(("ab", "c", "def"))
    assert calls == [("ab", "c"), ("def",), ("t",)]
    assert torch.equal(ready(("ab", "c", "def")), first) and len(calls) == 3, "computed once"
    torch.testing.assert_close(first, embeddings(model, Letters(), ("ab", "c", "def")))
    ready(("a", "bc", "def"))
    assert len(calls) == 6, "other texts, though the same letters in a row"
    ready(("ab", "c", "def"), "2")
    assert len(calls) == 9, "other weights"


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real weights, where somebody fetched them: in PRIVLAB_WEIGHTS, a folder with one folder for each."""
    place = os.environ.get("PRIVLAB_WEIGHTS")
    if not place or not all((Path(place) / key / TENSORS).is_file() for key in WEIGHTS):
        pytest.skip("published weights are not on this machine: fetch them and set PRIVLAB_WEIGHTS to their folder")
    monkeypatch.setattr(packaged, "weights_ready", lambda key: True)
    monkeypatch.setattr(packaged, "weights_folder", lambda key: Path(place) / key)


SENTENCES = ("Free entry in 2 a wkly comp!", "See you at six?", "£5 naïve – ok 😀", "word " * 300, "")


def test_minilms_embeddings_are_transformers_own(published: None) -> None:
    from transformers import AutoTokenizer

    folder = packaged.weights_folder("minilm")
    theirs = BertModel.from_pretrained(folder, attn_implementation="sdpa").eval()
    given = AutoTokenizer.from_pretrained(folder)(
        list(SENTENCES), padding=True, truncation=True, max_length=EMBEDDED_TOKENS, return_tensors="pt"
    )
    with torch.inference_mode():
        states, there = theirs(**given).last_hidden_state, given["attention_mask"][..., None]
        expected = nn.functional.normalize((states * there).sum(1) / there.sum(1), dim=1)
    made = embedding.embedding_features(DATASETS["sms-spam"])
    torch.testing.assert_close(made.of(SENTENCES), expected, rtol=1e-3, atol=1e-5)
    same = made.of(("A man eats food.", "Someone is eating.", "The stock market fell."))
    assert same[0] @ same[1] > 0.5 > 0.2 > same[0] @ same[2]


def test_minilm_keeps_a_long_texts_end(published: None) -> None:
    ids = encode(WordPieces(), ["word " * 300, "hi"], 64)
    assert ids[0, 0] == 101 and ids[0, -1] == 102 and (ids[1] == torch.tensor([101, 7632, 102] + [0] * 61)).all()


def test_tinystories_goes_on_with_a_story(published: None) -> None:
    model, tokens = llama("tinystories").eval(), Pieces()
    ids = tokens.ids("Once upon a time")[:-1]
    with torch.inference_mode():
        for _ in range(20):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    assert tokens.decode(ids).startswith("Once upon a time, there was a little girl named Lily. She loved to play")
    for text in SENTENCES:
        assert tokens.decode(tokens.ids(text)) == text
