"""The sealed format: what was sealed comes back, and nothing that was touched does."""

from __future__ import annotations

import os
import struct

import pytest

from privlab.encryption.sealing import CHUNK, HEADER_SIZE, RAW_KEY, SCRYPT, Lock, SealError, seal, unseal

KEY = bytes(range(32))
LOCK = Lock(RAW_KEY)
TAG = 16


def opened(sealed: bytes, key: bytes = KEY) -> bytes:
    return unseal(sealed, lambda lock: key)


@pytest.mark.parametrize("size", [0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17])
def test_comes_back_and_grows_by_header_and_tags(size: int) -> None:
    data = os.urandom(size)
    sealed = seal(data, LOCK, KEY)
    assert opened(sealed) == data
    assert len(sealed) == HEADER_SIZE + size + TAG * max(1, -(-size // CHUNK))


def test_nothing_of_the_data_is_in_the_file_and_no_two_files_are_alike() -> None:
    data = b"weights " * 1000
    first, second = seal(data, LOCK, KEY), seal(data, LOCK, KEY)
    assert b"weights" not in first
    # The fields that name the format are the same; nonces, keys and ciphertext are not.
    assert first[:28] == second[:28]
    assert first[28:60] != second[28:60]
    assert first[HEADER_SIZE:] != second[HEADER_SIZE:]


def test_every_flipped_bit_of_the_header_is_refused() -> None:
    sealed = seal(b"secret", LOCK, KEY)
    for at in range(HEADER_SIZE):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[at] ^= 1 << bit
            with pytest.raises(SealError):
                opened(bytes(changed))


def test_every_flipped_byte_of_the_body_is_refused() -> None:
    sealed = seal(b"some secret bytes", LOCK, KEY)
    for at in range(HEADER_SIZE, len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 0x80
        with pytest.raises(SealError, match="changed or cut off"):
            opened(bytes(changed))


def test_every_truncation_is_refused() -> None:
    sealed = seal(os.urandom(300), LOCK, KEY)
    for length in range(len(sealed)):
        with pytest.raises(SealError):
            opened(sealed[:length])


@pytest.fixture(scope="module")
def three_chunks() -> bytes:
    return seal(os.urandom(2 * CHUNK + 100), LOCK, KEY)


def parts(sealed: bytes) -> tuple[bytes, list[bytes]]:
    step = CHUNK + TAG
    return sealed[:HEADER_SIZE], [sealed[at : at + step] for at in range(HEADER_SIZE, len(sealed), step)]


def test_dropped_chunk_at_a_chunk_border_is_refused(three_chunks: bytes) -> None:
    header, chunks = parts(three_chunks)
    for kept in (chunks[:2], chunks[:1], chunks[1:], [chunks[0], chunks[2]]):
        with pytest.raises(SealError):
            opened(header + b"".join(kept))


def test_swapped_and_repeated_chunks_are_refused(three_chunks: bytes) -> None:
    header, (first, second, last) = parts(three_chunks)
    for order in ([second, first, last], [first, first, last], [first, second, second, last]):
        with pytest.raises(SealError):
            opened(header + b"".join(order))


def test_appended_bytes_are_refused(three_chunks: bytes) -> None:
    _, chunks = parts(three_chunks)
    for more in (b"\0", bytes(TAG), chunks[-1], chunks[0]):
        with pytest.raises(SealError):
            opened(three_chunks + more)


def test_chunk_of_another_file_is_refused(three_chunks: bytes) -> None:
    header, (first, second, last) = parts(three_chunks)
    _, others = parts(seal(os.urandom(2 * CHUNK + 100), LOCK, KEY))
    with pytest.raises(SealError):
        opened(header + first + others[1] + last)
    assert len(opened(header + first + second + last)) == 2 * CHUNK + 100


def test_wrong_key_is_refused_in_plain_words() -> None:
    with pytest.raises(SealError, match="key file does not open this file"):
        opened(seal(b"secret", LOCK, KEY), key=bytes(32))


def test_other_files_are_named() -> None:
    with pytest.raises(SealError, match="not a sealed PrivLab file"):
        opened(b"PK\x03\x04 something else entirely, long enough to be a file" * 10)


def costly(log2_n: int, r: int, p: int) -> bytes:
    sealed = bytearray(seal(b"secret", Lock(SCRYPT, 17, 8, 1, bytes(16)), KEY))
    sealed[8:12] = struct.pack(">BBBB", SCRYPT, log2_n, r, p)
    return bytes(sealed)


@pytest.mark.parametrize("cost", [(19, 8, 1), (255, 8, 1), (17, 17, 1), (17, 0, 1), (17, 8, 5), (17, 8, 0), (0, 8, 1)])
def test_cost_of_a_forged_header_is_bounded_before_any_key_is_derived(cost: tuple[int, int, int]) -> None:
    with pytest.raises(SealError, match="asks for scrypt"):
        unseal(costly(*cost), lambda lock: pytest.fail("the cost was accepted"))


def test_unknown_kind_of_key_is_refused() -> None:
    sealed = bytearray(seal(b"secret", LOCK, KEY))
    sealed[8] = 7
    with pytest.raises(SealError, match="key kind 7"):
        opened(bytes(sealed))
