"""Transformers that somebody brings: copied by content, refused by name, exact for every record, and transformers' own numbers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from opacus.validators import ModuleValidator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from privlab import paths
from privlab.config import ConfigError, RunConfig
from privlab.data import own
from privlab.data.catalogue import DATASETS
from privlab.data.fetch import FetchError
from privlab.data.load import NOT_ASKED, DataMissing
from privlab.data.weightfiles import CONFIG, FILES, TENSORS, TOKENIZER, weights_folder
from privlab.dpsgd.probes import unusual_tokens
from privlab.models.build import build
from privlab.models.catalogue import MODELS, TRANSFORMERS, misfit
from privlab.models.features import tokenised
from privlab.models.own import add
from privlab.models.sizes import parameters
from privlab.models.tokens import NO_TOKEN, encode, next_tokens, tokenizer
from privlab.preflight import preflight
from privlab.training.generate import generate
from tests import ownmodels
from tests.onerecord import check

FAMILIES = ("bert", "roberta", "gpt2", "llama")
DATA = {"bert": "sms-spam", "roberta": "sms-spam", "gpt2": "sms-messages", "llama": "sms-messages"}
#: A model of each family, and one of each kind of tensor that some have.
KINDS = {
    **{family: (family, {}) for family in FAMILIES},
    "gpt2, own head": (
        "gpt2",
        {"tie_word_embeddings": False, "scale_attn_by_inverse_layer_idx": True, "n_inner": None},
    ),
    "llama, tied": ("llama", {"tie_word_embeddings": True, "num_key_value_heads": 4}),
    "llama, biases": ("llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 6}),
}
PARTS = {"bert": ("lora", "all", "last", "bias", "head"), "gpt2": ("lora", "all", "last", "bias")}
PARTS |= {"roberta": PARTS["bert"], "llama": ("lora", "all", "last")}


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with a model for each of ``KINDS``."""
    place = tmp_path_factory.mktemp("brought")
    return {
        kind: ownmodels.folder(place / f"Tiny {kind.replace(', ', ' ')}", family, **settings)
        for kind, (family, settings) in KINDS.items()
    }


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))


def left_behind() -> list[str]:
    """What lies beside the added models."""
    place = paths.data_dir() / "weights"
    return [path.name for path in place.glob("*") if path.name not in own.added() and not path.name.endswith(".lock")]


def test_adding_copies_what_is_needed_under_a_key_that_names_the_content(
    brought: dict[str, Path], tmp_path: Path
) -> None:
    source = shutil.copytree(brought["bert"], tmp_path / "My BERT")
    (source / "pytorch_model.bin").write_bytes(b"never read")
    seen: list[tuple[int, int | None, str]] = []
    key = add(str(source), progress=lambda *step: seen.append(step))
    added = own.added()[key]
    assert key == f"own-my-bert-{added.sha256[:8]}" and added.source == str(source) and added.name == "My BERT"
    assert {path.name for path in weights_folder(key).iterdir()} == {*FILES, "own.json", "sha256.json"}
    assert seen[-1][:2] == (sum((source / name).stat().st_size for name in FILES),) * 2
    assert MODELS[key].title.startswith("My BERT (BERT, ") and MODELS[key].trains == PARTS["bert"]
    assert list(MODELS)[-1] == key and len(MODELS) == len(list(MODELS)) and TRANSFORMERS[key].context == 40
    # What becomes of the folder changes nothing, and the same content is the same model.
    same = add(str(brought["bert"]), name="Another name")
    shutil.rmtree(source)
    assert same == key and len(own.added()) == 1
    assert build(key, DATASETS["sms-spam"], 0, "all").blocks and left_behind() == []


def test_another_content_is_another_model(brought: dict[str, Path], tmp_path: Path) -> None:
    first = add(str(brought["bert"]))
    changed = shutil.copytree(brought["bert"], tmp_path / brought["bert"].name)
    tensors = load_file(changed / TENSORS)
    tensors["bert.embeddings.word_embeddings.weight"][0, 0] += 1
    save_file(tensors, changed / TENSORS)
    second = add(str(changed))
    assert first[:-8] == second[:-8] and first != second and set(own.added()) == {first, second}


def test_a_copy_that_was_changed_is_not_trained_on_and_is_mended_by_adding_again(brought: dict[str, Path]) -> None:
    key = add(str(brought["gpt2"]))
    file = weights_folder(key) / TENSORS
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(DataMissing, match=f"not what was added.*remove-model {key}.*add it again from .*Tiny gpt2"):
        build(key, DATASETS["sms-messages"], 0)
    assert add(str(brought["gpt2"])) == key
    build(key, DATASETS["sms-messages"], 0)


def test_removing_remembers_where_it_came_from(brought: dict[str, Path]) -> None:
    key = add(str(brought["bert"]), name="Mine")
    assert own.remove(key).key == key and key not in MODELS and not weights_folder(key).exists()
    for said in (own.missing(key), problems(key)["model.name"], missing_to_build(key)):
        assert (
            key in said and "(Mine) is not on this machine" in said and f"add it again from {brought['bert']}" in said
        )
    with pytest.raises(FetchError, match=r"no added model “own-x”.*none has been added"):
        own.remove("own-x")


def missing_to_build(key: str) -> str:
    with pytest.raises(DataMissing) as caught:
        build(key, DATASETS["sms-spam"], 0)
    return str(caught.value)


def problems(key: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        preflight(config(key))
    return {problem.path: problem.message for problem in caught.value.problems}


def config(key: str, dataset: str = "sms-spam", trains: str = "auto") -> RunConfig:
    return RunConfig.from_dict(
        {
            "data": {"dataset": dataset},
            "model": {"name": key, "trains": trains},
            "privacy": {"target_epsilon": 8.0, "delta": 1e-5},
        }
    )


def test_a_model_from_elsewhere_is_missed_in_words() -> None:
    assert (
        "own-their-0123abcd is not on this machine: add it again from the folder or hub name"
        in (problems("own-their-0123abcd")["model.name"])
    )
    with pytest.raises(KeyError):
        misfit("own-their-0123abcd", "sms-spam")


def test_stopping_leaves_nothing_behind(brought: dict[str, Path]) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int | None, what: str) -> None:
        if done:
            raise Stop

    with pytest.raises(Stop):
        add(str(brought["llama"]), progress=stop)
    assert left_behind() == [] and not own.added()


def test_shards_are_joined(brought: dict[str, Path], tmp_path: Path) -> None:
    sharded = ownmodels.folder(tmp_path / brought["gpt2"].name, "gpt2", shards=3)
    assert len(list(sharded.glob("model-*.safetensors"))) > 1 and not (sharded / TENSORS).exists()
    found, whole = load_file(weights_folder(add(str(sharded))) / TENSORS), load_file(brought["gpt2"] / TENSORS)
    assert found.keys() == whole.keys() and all(torch.equal(found[name], whole[name]) for name in whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_numbers_become_whole_ones(brought: dict[str, Path], tmp_path: Path, dtype: torch.dtype) -> None:
    half = shutil.copytree(brought["llama"], tmp_path / "half")
    tensors = {name: t.to(dtype) for name, t in load_file(half / TENSORS).items()}
    save_file(tensors, half / TENSORS)
    model = build(add(str(half)), DATASETS["sms-messages"], 0)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.norm.weight, tensors["model.norm.weight"].float())


def stated(**changes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text()) | changes
        (folder / CONFIG).write_text(json.dumps({k: v for k, v in config.items() if v != "left out"}))

    return change


def tensors(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        held = load_file(folder / TENSORS)
        change(held)
        save_file(held, folder / TENSORS)

    return changed


def only_pickled(folder: Path) -> None:
    (folder / TENSORS).rename(folder / "pytorch_model.bin")


def shards_outside(folder: Path) -> None:
    (folder / TENSORS).rename(folder.parent / "elsewhere.safetensors")
    (folder / f"{TENSORS}.index.json").write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))


ROW = "bert.embeddings.word_embeddings.weight"
REFUSED = {
    "another family": (
        "bert",
        stated(model_type="distilbert"),
        "'distilbert'; supported are bert .*roberta.*gpt2.*llama",
    ),
    "no family": ("bert", stated(model_type="left out"), "model_type is None"),
    "code": ("llama", stated(auto_map={"AutoModel": "modeling.Mine"}), "auto_map.*never run"),
    "quantised": ("llama", stated(quantization_config={"bits": 4}), "quantised"),
    "quantised tensor": ("bert", tensors(lambda held: held.update({ROW: held[ROW].to(torch.int8)})), "quantised.*I8"),
    "relative places": ("bert", stated(position_embedding_type="relative_key"), "relative_key.*only absolute"),
    "turned otherwise": ("llama", stated(rope_parameters={"rope_type": "dynamic", "factor": 2.0}), "dynamic.*llama3"),
    "a decoder": ("bert", stated(is_decoder=True), "is_decoder=true"),
    "activation": ("gpt2", stated(activation_function="xielu"), "xielu.*unknown"),
    "endless": ("llama", stated(num_hidden_layers=10**12), "1,000,000,000,000 blocks.*at most 1,000"),
    "no size": ("gpt2", stated(n_layer=0), "n_layer=0"),
    "size left out": ("bert", stated(hidden_size="left out"), "hidden_size=None"),
    "heads": ("bert", stated(num_attention_heads=3), "16 is no multiple of its 3 heads"),
    "too short": ("bert", stated(max_position_embeddings=3), "only 3 tokens"),
    "places taken by the pad": ("roberta", stated(max_position_embeddings=5), "only 3 tokens"),
    "no end": ("gpt2", stated(eos_token_id=None), "eos_token_id=None"),
    "end outside": ("gpt2", stated(eos_token_id=50_256), "50256.*no token of the"),
    "other sizes": ("bert", stated(intermediate_size=32), r"shape \(24, 16\).*\(32, 16\)"),
    "vocabulary": ("bert", stated(vocab_size=90), r"word_embeddings.*\(90, 16\)"),
    "batch norm": (
        "bert",
        tensors(lambda held: held.update(a_running_mean=torch.zeros(2))),
        "BatchNorm.*mixes records",
    ),
    "a tensor less": ("gpt2", tensors(lambda held: held.pop("transformer.ln_f.bias")), "lack the tensor ln_f.bias"),
    "pickled": (
        "bert",
        only_pickled,
        "only pytorch_model.bin, which is pickled.*convert it on a machine that you trust",
    ),
    "no weights": ("bert", lambda folder: (folder / TENSORS).unlink(), "there is none"),
    "no config": ("bert", lambda folder: (folder / CONFIG).unlink(), "has no config.json"),
    "no JSON": ("bert", lambda folder: (folder / CONFIG).write_text("{"), "no JSON"),
    "no tokenizer": ("bert", lambda folder: (folder / TOKENIZER).unlink(), "no tokenizer.json.*save_pretrained"),
    "damaged tokenizer": (
        "bert",
        lambda folder: (folder / TOKENIZER).write_text("{}"),
        "tokenizer.json cannot be read",
    ),
    "cut short": ("bert", lambda folder: cut(folder / TENSORS), "cut short"),
    "shards outside": ("bert", shards_outside, "'../elsewhere.safetensors'"),
}


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_taken_is_refused_by_name(brought: dict[str, Path], tmp_path: Path, reason: str) -> None:
    family, change, said = REFUSED[reason]
    folder = shutil.copytree(brought[family], tmp_path / "brought")
    change(folder)
    with pytest.raises(FetchError, match=rf"(?s)was not added\..*{said}"):
        add(str(folder))
    assert not own.added() and left_behind() == []


def test_a_tokenizer_with_more_tokens_than_rows_is_refused(brought: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(brought["bert"], tmp_path / "brought")
    shutil.copy(brought["llama"] / TOKENIZER, folder / TOKENIZER)
    with pytest.raises(FetchError, match="do not belong together"):
        add(str(folder))


def test_a_folder_that_is_not_there_is_no_name_on_the_hub() -> None:
    for source in ("/no/such/folder", "../up", "a b", "a/b/c"):
        with pytest.raises(FetchError, match="no such folder, and a name on the hub is like"):
            add(source)
    with pytest.raises(FetchError, match="Name a folder"):
        add(" ")


# Numbers ----------------------------------------------------------------------------------------------------------------------


def trainable(kind: str, brought: dict[str, Path], part: str = "all", rank: int = 3) -> nn.Module:
    """The model, with adapters that do not begin at zero."""
    model = build(add(str(brought[kind])), DATASETS[DATA[KINDS[kind][0]]], 0, part, rank)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, p in model.named_parameters():
            if "lora" in name or (name.startswith("head") and p.requires_grad):
                nn.init.normal_(p, std=0.2)
    return model


def records(kind: str, n: int = 6) -> tuple[Tensor, Tensor]:
    """Texts of 3 to 9 tokens, filled up to 9."""
    family = KINDS[kind][0]
    pad = {"bert": 0, "roberta": 1}.get(family, NO_TOKEN)
    source = torch.Generator().manual_seed(1)
    x = torch.randint(4, 90, (n, 10), generator=source)
    there = torch.arange(10) < torch.randint(4, 11, (n, 1), generator=source)
    x = x.masked_fill(~there, pad)
    if family in ("bert", "roberta"):
        return x, torch.randint(2, (n,), generator=source)
    return next_tokens(x, pad)


@pytest.mark.parametrize("method", ["one-pass", "hooks", "ghost"])
@pytest.mark.parametrize(
    ("kind", "part"), [(kind, part) for kind, (family, _) in KINDS.items() for part in PARTS[family]]
)
def test_every_method_finds_each_records_own_gradient(
    brought: dict[str, Path], kind: str, part: str, method: str
) -> None:
    check(trainable(kind, brought, part), *records(kind), method=method, room=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_what_transformers_computes(brought: dict[str, Path], kind: str) -> None:
    from transformers import AutoModel, AutoModelForCausalLM

    (family, _), (x, _) = KINDS[kind], records(kind)
    model = trainable(kind, brought)
    if family in ("bert", "roberta"):
        theirs = AutoModel.from_pretrained(brought[kind], attn_implementation="sdpa").eval()
        there = (x != theirs.config.pad_token_id).long()
        states = theirs(x, attention_mask=there).last_hidden_state
        expected = model.head((states * there[..., None]).sum(1) / there.sum(1, keepdim=True))
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)
        return
    theirs, there = (
        AutoModelForCausalLM.from_pretrained(brought[kind], attn_implementation="sdpa").eval(),
        x != NO_TOKEN,
    )
    expected = theirs(x.clamp(min=0), attention_mask=there.long()).logits
    torch.testing.assert_close(model(x)[there], expected[there], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_says_nothing_and_neighbours_are_not_seen(brought: dict[str, Path], kind: str) -> None:
    (family, _), (x, y), model = KINDS[kind], records(kind), trainable(kind, brought)
    pad = {"bert": 0, "roberta": 1}.get(family, NO_TOKEN)
    longer = model(nn.functional.pad(x, (0, 3), value=pad))
    torch.testing.assert_close(longer if y.dim() == 1 else longer[:, :9], model(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]), rtol=1e-4, atol=1e-4)
    assert model(torch.full((2, 5), pad)).isfinite().all(), "a text of pads alone"
    assert ModuleValidator.validate(model, strict=False) == []
    assert not any(isinstance(layer, nn.Dropout) and layer.p for layer in model.modules())
    if y.dim() == 2:
        changed = x.clone()
        changed[:, 5:] = 7
        torch.testing.assert_close(model(x)[:, :5], model(changed)[:, :5])


def test_roberta_counts_places_from_behind_its_pad(brought: dict[str, Path]) -> None:
    model, (x, _) = trainable("roberta", brought), records("roberta")
    places = model._places(x != 1)
    assert places[:, 0].tolist() == [2] * len(x)
    assert ((places == 1) == (x == 1)).all() and places.max() == 1 + (x != 1).sum(1).max()


@pytest.mark.parametrize("rank", [1, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_as_many_parameters_train_as_the_catalogue_says(brought: dict[str, Path], kind: str, rank: int) -> None:
    key, data = add(str(brought[kind])), DATA[KINDS[kind][0]]
    biased = ("bias",) if kind == "llama, biases" else ()
    assert set(MODELS[key].trains) == {*PARTS[KINDS[kind][0]], *biased}
    for part in MODELS[key].trains:
        model = build(key, DATASETS[data], 0, part, rank)
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == parameters(key, data, part, rank), part
        assert not any(p.requires_grad for p in model.embeddings.parameters())
        if TASK[kind] == "language":
            assert not model.head.weight.requires_grad


TASK = {kind: DATASETS[DATA[family]].task for kind, (family, _) in KINDS.items()}


def test_a_language_model_does_not_take_classes(brought: dict[str, Path]) -> None:
    gpt2, bert = add(str(brought["gpt2"])), add(str(brought["bert"]))
    assert "needs texts to go on with" in misfit(gpt2, "sms-spam") and bert in misfit(gpt2, "sms-spam")
    assert "needs texts that have a class" in misfit(bert, "sms-messages")
    with pytest.raises(ConfigError, match="cannot train “head”"):
        preflight(config(gpt2, "sms-messages", "head"))
    assert preflight(config(gpt2, "sms-messages")).trains == "lora"


# Tokens -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_are_the_tokenizers_own_between_their_marks(brought: dict[str, Path], family: str) -> None:
    key = add(str(brought[family]))
    tokens, plain = tokenizer(key), ownmodels.tokenizer(family)
    text = "claim your prize now"
    inner = plain.encode(text, add_special_tokens=False).ids
    begin, end = {"bert": (2, 3), "roberta": (0, 2), "gpt2": (0, 0), "llama": (1, 2)}[family]
    assert tokens.ids(text) == [begin, *inner, end] and tokens.size == TRANSFORMERS[key].vocabulary
    context = TRANSFORMERS[key].context
    assert context == (38 if family == "roberta" else 40), "what stands behind its pad"
    ids = encode(tokens, [text, "", "win " * 300], context)
    assert (ids[0, len(inner) + 2 :] == tokens.pad).all()
    if family in ("bert", "roberta"):
        assert ids[2, -1] == end, "a long text's end is still marked"
    else:
        assert tokens.pad == NO_TOKEN and tokens.edge == end and tokens.decode(tokens.ids(text)) == text
        _, y = next_tokens(encode(tokens, [text], 41), tokens.pad)
        assert y[0, len(inner)] == end and (y[0, len(inner) + 1 :] == NOT_ASKED).all(), (
            "the end is learnt, nothing behind"
        )


@pytest.mark.parametrize(("family", "spelt"), [("gpt2", "<|endoftext|>"), ("llama", "</s>"), ("bert", "[SEP]")])
def test_what_a_text_spells_like_a_special_piece_stays_text(brought: dict[str, Path], family: str, spelt: str) -> None:
    tokens = tokenizer(add(str(brought[family])))
    # BERT's unknown piece is for signs that it does not know.
    marks = {0, 2, 3} if family == "bert" else {0, 1, 2} if family == "llama" else {0}
    assert not marks & set(tokens.ids(f"now {spelt} now")[1:-1])


def test_texts_become_tokens_of_its_context(brought: dict[str, Path]) -> None:
    from privlab.data.texts import load_texts

    key = add(str(brought["gpt2"]))
    made = tokenised(load_texts("sms-messages"), tokenizer(key), TRANSFORMERS[key].context)
    assert (
        made.train_x.shape == (4128, 40) and made.train_x.min() == NO_TOKEN and made.train_x.max() < tokenizer(key).size
    )
    assert made.train_y.min() == NOT_ASKED and (made.train_y != NO_TOKEN).all()


def test_without_a_pad_of_its_own_the_last_token_may_be_written(brought: dict[str, Path]) -> None:
    tokens = tokenizer(add(str(brought["gpt2"])))

    def last(ids: Tensor) -> Tensor:
        return nn.functional.one_hot(torch.full(ids.shape, tokens.size - 1), tokens.size).float()

    written = "".join(generate(last, tokens, "I am", most=3, context=40))
    assert written == tokens.decode([tokens.size - 1] * 3) != ""


def test_the_self_check_asks_for_no_padding_that_is_no_token() -> None:
    x = torch.full((40, 12), NO_TOKEN)
    x[:, 0], x[:, 1] = torch.arange(40) // 7, torch.arange(40) % 7
    looked, asked = unusual_tokens(x, torch.full_like(x, NOT_ASKED), 8)
    assert (looked[-1] == NO_TOKEN).any(), "the random record has some"
    assert ((asked >= 0) | (asked == NOT_ASKED)).all()
