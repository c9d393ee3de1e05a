"""The sealed format: what was sealed comes back, and nothing that was touched does."""

from __future__ import annotations

import os
import random
import struct

import pytest

from privlab.encryption.keys import Passphrase
from privlab.encryption.sealing import (
    CHUNK,
    HEADER_SIZE,
    NAMED,
    RAW_KEY,
    SCRYPT,
    Lock,
    SealError,
    lock_of,
    rewrap,
    seal,
    sealed_parts,
    unseal,
)

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


#: Files written by version 1 of the format and by this one: KEY, and the passphrase “correct horse” at N = 2^10.
VERSION_1 = bytes.fromhex(
    "505249564c41420100000000000000000000000000000000000000002216cb8ef442c8fd5e66bc25078b1142d9103c808e35195565d8dc02d3"
    "5a91de9480a240e953fce6a51b9faa098a7db6a3b52e193e09ba30f48fb40b9b123bd91ae32ff5627823db8bb41faf4b5c6fc0dd742ac88203"
    "6e3888ccf048c5738c7011da6cfaf34e"
)
VERSION_1_PASSPHRASE = bytes.fromhex(
    "505249564c414201010a08017f32559495c85aa5dd9679b1ddfb2068b839fa2aeb0d10b30d27dc449a0f9914eecaca2f043c8e569ef9aba007"
    "61da3080f0db0e4c42570c6f90925983e2f179c613db200046381c5297a6b5ef9c504d061c757f302ebcc30b49c4c10726a0b662497985e485"
    "118bc3ae23c33fc8e97ace33a83420d3"
)
VERSION_2 = bytes.fromhex(
    "505249564c4142020000000000000000000000000000000000000000cc01d864250b2cc057c1163b7f8d7ac92cc0aabe21b6ac4855dc9eaa22"
    "0e052eeef415bb9996cf931ef427a30fe04721fda0c26b813189f5b04a26f11bc615c90e960a29526f7fd5e95113bd754c29b137318d0cb810"
    "b80c50459dbab7a8238fb1af8d64e2a3"
)


def test_files_of_every_version_still_open() -> None:
    assert opened(VERSION_1) == b"sealed by version 1"
    assert unseal(VERSION_1_PASSPHRASE, Passphrase("correct horse").for_opening) == b"sealed by version 1"
    assert opened(VERSION_2) == b"sealed by version 2"


def test_a_file_is_not_taken_for_one_of_another_version() -> None:
    for sealed in (VERSION_1, VERSION_2):
        other = sealed[:7] + bytes([3 - sealed[7]]) + sealed[8:]
        with pytest.raises(SealError, match="does not open this file"):
            opened(other)


@pytest.mark.parametrize("version", [0, 3, 255])
def test_a_header_from_the_future_is_refused_by_its_version(version: int) -> None:
    with pytest.raises(SealError, match=rf"format version {version}; this PrivLab reads versions 1 to 2"):
        opened(VERSION_2[:7] + bytes([version]) + VERSION_2[8:])


def test_every_other_value_of_every_header_byte_is_refused() -> None:
    for sealed in (VERSION_1, VERSION_2):
        changed = bytearray(sealed)
        for at in range(HEADER_SIZE):
            for value in range(256):
                changed[at] = value
                if value != sealed[at]:
                    with pytest.raises(SealError):
                        opened(bytes(changed))
            changed[at] = sealed[at]


def test_flipped_bytes_anywhere_in_a_large_file_are_refused() -> None:
    """5,000 positions, another set at each run, and both sides of every border between chunks."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    sealed = seal(os.urandom(CHUNK + 100_000), LOCK, KEY)
    ends = [HEADER_SIZE, HEADER_SIZE + CHUNK + TAG, len(sealed)]
    borders = [at for end in ends for at in (end - TAG - 1, end - TAG, end - 1, end) if HEADER_SIZE <= at < len(sealed)]
    changed = bytearray(sealed)
    refused = 0
    for at in (*draw.sample(range(HEADER_SIZE, len(sealed)), 5_000), *borders):
        changed[at] ^= draw.randrange(1, 256)
        with pytest.raises(SealError, match="changed or cut off"):
            opened(changed)
        changed[at] = sealed[at]
        refused += 1
    assert refused == 5_000 + len(borders)
    assert len(opened(changed)) == CHUNK + 100_000


def test_the_pieces_are_the_file() -> None:
    data = os.urandom(2 * CHUNK + 5)
    pieces = [bytes(piece) for piece in sealed_parts(data, LOCK, KEY)]
    assert [len(piece) for piece in pieces] == [HEADER_SIZE, CHUNK + TAG, CHUNK + TAG, 5 + TAG]
    assert opened(b"".join(pieces)) == data


def test_another_key_in_front_leaves_the_chunks_as_they_are(three_chunks: bytes) -> None:
    lock, key = Lock(NAMED, salt=bytes(range(16))), bytes(reversed(range(32)))
    changed = b"".join(rewrap(three_chunks, lambda _: KEY, lock, key))
    assert changed[HEADER_SIZE:] == three_chunks[HEADER_SIZE:]
    assert lock_of(changed[:HEADER_SIZE]) == lock
    assert opened(changed, key) == opened(three_chunks)
    with pytest.raises(SealError, match="named key does not open this file"):
        opened(changed)
    # Damage is not made good on the way.
    damaged = bytearray(three_chunks)
    damaged[-1] ^= 1
    with pytest.raises(SealError, match="changed or cut off"):
        opened(b"".join(rewrap(bytes(damaged), lambda _: KEY, lock, key)), key)


def test_a_wrapped_key_of_another_file_does_not_fit(three_chunks: bytes) -> None:
    other = seal(os.urandom(2 * CHUNK + 100), LOCK, KEY)
    with pytest.raises(SealError):
        opened(other[:HEADER_SIZE] + three_chunks[HEADER_SIZE:])
    # Prefix and wrapped data key are bound to each other by the header.
    with pytest.raises(SealError, match="header was changed"):
        opened(three_chunks[:35] + other[35:HEADER_SIZE] + three_chunks[HEADER_SIZE:])


def test_a_file_of_version_1_is_sealed_anew_when_its_key_changes() -> None:
    lock, key = Lock(NAMED, salt=bytes(range(16))), bytes(reversed(range(32)))
    changed = b"".join(bytes(piece) for piece in rewrap(VERSION_1, lambda _: KEY, lock, key))
    assert changed[HEADER_SIZE:] != VERSION_1[HEADER_SIZE:]
    assert opened(changed, key) == b"sealed by version 1"
