"""The stream cipher: a published vector, a new key for a forked child, seeds and positions."""

from __future__ import annotations

import os

import numpy as np
import pytest

from privlab.dpsgd.cipher import CipherStream
from privlab.dpsgd.randomness import coins, noise_stream

#: FIPS 197, appendix C.3: AES-256 turns this block under this key into this one. In counter mode the block is the counter.
KEY = bytes.fromhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
BLOCK, CIPHERED = "00112233445566778899aabbccddeeff", "8ea2b7ca516745bfeafc49904b496089"


def in_child(stream: CipherStream, count: int) -> bytes:
    """What a forked child gets from its copy of ``stream``."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, stream.words(count).tobytes())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        got = pipe.read()
    os.waitpid(child, 0)
    return got


def test_words_are_those_of_the_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CipherStream, "_seeded_key", lambda self: KEY)
    stream = CipherStream(seed=0)
    stream.state = 2 * int(BLOCK, 16)
    assert stream.words(2).tobytes().hex() == CIPHERED


def test_key_is_256_bits_of_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(os, "urandom", lambda size: asked.append(size) or KEY)
    first, second = CipherStream(), CipherStream()
    assert asked == [32, 32]
    np.testing.assert_array_equal(first.words(4), second.words(4))


def test_streams_differ_without_a_seed_and_are_the_same_with_one() -> None:
    assert len({CipherStream().words(1)[0] for _ in range(50)}) == 50
    np.testing.assert_array_equal(CipherStream(5, "a").words(9), CipherStream(5, "a").words(9))
    assert len({CipherStream(seed, purpose).words(1)[0] for seed in (5, 6) for purpose in "ab"}) == 4
    assert coins("reproducible", 5).words(1) != noise_stream("reproducible", 5).words(1)
    assert coins("plain", 5).words(1) != coins("plain", 5).words(1)


def test_forked_child_leaves_its_parents_stream() -> None:
    stream = CipherStream()
    stream.words(3)
    children = [in_child(stream, 8) for _ in range(3)]
    assert len({*children, stream.words(8).tobytes()}) == 4
    assert all(len(words) == 64 for words in children)


def test_forked_child_goes_on_with_a_seed() -> None:
    stream = CipherStream(5)
    stream.words(3)
    assert in_child(stream, 8) == stream.words(8).tobytes()


@pytest.mark.parametrize("taken", [0, 1, 2, 7, 1000])
def test_position_is_found_again(taken: int) -> None:
    stream = CipherStream(5)
    stream.words(taken)
    assert stream.state == taken
    other = CipherStream(5)
    other.state = stream.state
    expected = stream.words(11)
    np.testing.assert_array_equal(other.words(11), expected)
    assert other.state == taken + 11


def test_private_stream_gives_no_position() -> None:
    with pytest.raises(ValueError, match="without a seed"):
        _ = CipherStream().state
    with pytest.raises(ValueError, match="without a seed"):
        CipherStream().state = 3


def test_parts_are_the_whole() -> None:
    stream = CipherStream(5)
    parts = np.concatenate([stream.words(n) for n in (1, 0, 5, 40, 3)])
    np.testing.assert_array_equal(parts, CipherStream(5).words(49))


def test_uniforms_are_multiples_of_2_to_the_minus_53_in_0_to_1(monkeypatch: pytest.MonkeyPatch) -> None:
    top = np.uint64(2**64 - 1)
    monkeypatch.setattr(CipherStream, "words", lambda self, count: np.array([0, top, 1 << 11], dtype=np.uint64))
    np.testing.assert_array_equal(CipherStream(0).uniforms(3), [2.0**-53, 1.0, 2.0**-52])
