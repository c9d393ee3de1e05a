"""What a stolen file gives away: everything when plain, its size and lock when sealed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from privlab.encryption import Passphrase, thief
from privlab.encryption.sealing import HEADER_SIZE, NAMED, RAW_KEY, Lock, seal

KEY = bytes(range(32))
WEIGHTS = {
    "layer.weight": np.linspace(-1, 1, 640, dtype=np.float32).reshape(10, 64),
    "layer.bias": np.zeros(10, np.float32),
}
PLAIN = safetensors.numpy.save(WEIGHTS, {"epsilon": "2.5", "dataset": "digits"})


@pytest.fixture
def stolen(tmp_path: Path):
    def write(data: bytes) -> thief.Loot:
        (tmp_path / "file").write_bytes(data)
        return thief.steal(tmp_path / "file")

    return write


def test_a_plain_file_gives_everything_away(stolen) -> None:
    loot = stolen(PLAIN)
    assert not loot.sealed and loot.size == len(PLAIN)
    assert loot.tensors == {"layer.weight": (10, 64), "layer.bias": (10,)}
    assert loot.notes == {"epsilon": "2.5", "dataset": "digits"}
    assert any("layer.weight" in text for text in loot.texts)
    assert any("Every one of its 650 numbers in 2 tensors" in said for said in loot.can_read)
    assert loot.first_bytes == PLAIN[:32].hex(" ")
    read = thief.weights(PLAIN)
    assert all(np.array_equal(read[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize("lock", [Lock(RAW_KEY), Lock(NAMED, salt=bytes(range(16)))])
def test_a_sealed_file_gives_away_its_size_and_its_lock(stolen, lock: Lock) -> None:
    sealed = seal(PLAIN * 40, lock, KEY)
    loot = stolen(sealed)
    assert loot.sealed and loot.size == len(sealed)
    assert (loot.texts, loot.tensors, loot.notes, thief.weights(sealed)) == ((), {}, {}, {})
    assert abs(loot.entropy - loot.entropy_of_random) < 0.01
    assert loot.entropy > stolen(PLAIN * 40).entropy + 0.5
    assert any("no parameter" in said for said in loot.can_read)


def test_other_files_are_looked_at_too(stolen) -> None:
    assert stolen(b"").size == 0
    assert stolen(b"\x00" * 500).entropy == 0
    loot = stolen(b"just some words in a file, nothing else")
    assert loot.texts == ("just some words in a file, nothing else",)
    assert loot.can_read[-1] == "Whatever the bytes say: nothing hides them."
    assert stolen(PLAIN[:100]).tensors == {}, "a header that is cut off"


def test_text_is_what_random_bytes_would_not_show(stolen) -> None:
    random = np.random.default_rng(0).integers(0, 128, 4 << 20, np.uint8) * 2  # 48 of 128 values are printable
    assert stolen(random.tobytes()).texts == ()
    secret = b"card number 4000 0012 3456 7899, valid until 12/29"
    assert stolen(random.tobytes() + b"\x00" + secret).texts == (secret.decode(),)


def test_entropy_in_bits_per_byte() -> None:
    assert thief.entropy(b"") == 0 and thief.entropy(b"aaaa") == 0
    assert thief.entropy(b"ab") == 1
    assert thief.entropy(bytes(range(256))) == 8
    many = os.urandom(1 << 16)
    assert abs(thief.entropy(many) - (8 - 255 / (2 * len(many) * np.log(2)))) < 0.002


def test_a_flipped_bit_is_refused_wherever_it_is() -> None:
    sealed = seal(PLAIN, Lock(RAW_KEY), KEY)
    assert thief.try_open(sealed, lambda _: KEY) == thief.Tried(
        True, f"Opened: {len(PLAIN):,} bytes, exactly as they were sealed."
    )
    for position in (0, 7, 8, 20, 30, 40, 60, HEADER_SIZE, len(sealed) - 1):
        changed = thief.flip(sealed, position)
        assert sum(a != b for a, b in zip(sealed, changed, strict=True)) == 1
        tried = thief.try_open(changed, lambda _: KEY)
        if position:
            assert not tried.opened and tried.said.startswith("Refused"), position
    assert thief.try_open(thief.flip(PLAIN, 100), lambda _: KEY).said.startswith("The file is not sealed")
    for position in (-1, len(sealed)):
        with pytest.raises(
            ValueError, match=f"position={position} is refused: the file has bytes 0 to {len(sealed) - 1}"
        ):
            thief.flip(sealed, position)
    assert [thief.part_of(sealed, at) for at in (0, 94, HEADER_SIZE)] == [
        "the mark and version of the format",
        "the wrapped data key",
        "the encrypted content",
    ]


def test_guesses_are_refused_in_plain_words() -> None:
    right = Passphrase("correct horse", log2_n=10)
    sealed = seal(PLAIN, right.lock, right.for_sealing())
    assert thief.try_key(sealed, "correct horse").opened
    wrong = thief.try_key(sealed, "correct house")
    assert not wrong.opened and "passphrase does not open this file" in wrong.said
    for lock, kind in ((Lock(RAW_KEY), "a key file"), (Lock(NAMED, salt=bytes(16)), "a named key")):
        tried = thief.try_key(seal(PLAIN, lock, KEY), "correct horse")
        assert not tried.opened and f"needs {kind} of 256 random bits" in tried.said
    assert thief.try_key(PLAIN, "x").said.startswith("The file is not sealed")
    assert not thief.try_key(sealed, "").opened
