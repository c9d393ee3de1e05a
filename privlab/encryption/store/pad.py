"""The masked store: each number is added to a secret one modulo 2³², and the server adds what it gets.

c = v + p mod 2³², v = round(x·2²⁴), p from AES-256 in counter mode (:mod:`…store.keystream`). A sum of such c is the sum of the v plus the sum of
the pads, which the owners know: they keep the pads' running sum, 4 bytes a parameter. Each pad is uniform and used once, so the server learns
nothing as long as AES cannot be told from chance (Castelluccia, Mykletun, Tsudik 2005, section 4.1).
"""

from __future__ import annotations

import numpy as np

from privlab.encryption.fixedpoint import PAD_MODULUS, RangeError, bound, check_range, decode, encode_checked
from privlab.encryption.store.contract import StoreError
from privlab.encryption.store.scheme import CHECKSUM, CHUNK, Scheme, chunk_slice, ring_checksum

_WORD = np.dtype("<u4")


class PadScheme(Scheme):
    """The owners' side of the masked store."""

    mode = "pad"

    def __init__(self, dimension: int):
        super().__init__(dimension)
        self._masks = np.zeros(dimension, dtype=_WORD)  # Σ pads in the committed state
        self._pending_masks = np.zeros(dimension, dtype=_WORD)

    @property
    def range_text(self) -> str:
        return f"within ±{bound(PAD_MODULUS):.6g}"

    def check(self, values: np.ndarray) -> None:
        try:
            check_range(values, PAD_MODULUS)
        except RangeError as error:
            raise StoreError(str(error)) from None

    def restart(self) -> None:
        super().restart()
        self._masks[:] = 0
        self._pending_masks[:] = 0

    def settle(self) -> None:
        super().settle()
        self._masks += self._pending_masks
        self._pending_masks[:] = 0

    def _encrypt(self, values: np.ndarray, index: int) -> tuple[bytes, int]:
        residues = encode_checked(values)
        pad = self._pads.words.words(self._owner, self._revision, index * CHUNK, len(values), _WORD)
        self._pending_masks[chunk_slice(self.dimension, index)] += pad
        pad += residues.astype(_WORD)
        return pad.tobytes(), ring_checksum(self._weights(index), residues)

    def _decrypt(self, body: memoryview, index: int, checksum: int) -> np.ndarray | None:
        words = np.frombuffer(body, dtype=_WORD) - self._masks[chunk_slice(self.dimension, index)]
        residues = words.view("<i4").astype(np.int64)
        return decode(residues) if ring_checksum(self._weights(index), residues) == checksum else None


class PadSum:
    """The server's side of the masked store."""

    def parse(self, body: bytes, size: int) -> tuple[np.ndarray, np.ndarray]:
        if len(body) != size * _WORD.itemsize + CHECKSUM.size:
            raise StoreError(
                f"A chunk of {len(body)} bytes came; {size} masked values and a checksum have "
                f"{size * _WORD.itemsize + CHECKSUM.size}."
            )
        split = size * _WORD.itemsize
        return np.frombuffer(body[:split], dtype=_WORD).copy(), np.frombuffer(body[split:], dtype="<u8").copy()

    def add(self, total: tuple, part: tuple) -> tuple:
        for into, more in zip(total, part, strict=True):
            into += more
        return total

    def dump(self, part: tuple) -> bytes:
        words, checksum = part
        return words.tobytes() + checksum.tobytes()
