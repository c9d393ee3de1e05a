"""Whole-number Gaussian noise: the numbers behind its distance from the ideal, and its decisions bit by bit."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from privlab.dpsgd import whole_noise as module
from privlab.dpsgd.cipher import CipherStream
from privlab.dpsgd.whole_noise import _decide, _stairs, _table, whole_noise
from privlab.privacy.rounding import GRID_BITS, RELATIVE_ERROR, SUPPORT


class Words:
    """A stream that gives known words, then zeros or ones for what the first ones left open."""

    def __init__(self, words: np.ndarray, more: int = 0):
        self._words, self._more = np.asarray(words, dtype=np.uint64), more

    def words(self, count: int) -> np.ndarray:
        given, self._words = self._words[:count], self._words[count:]
        return np.append(given, np.full(count - len(given), self._more, dtype=np.uint64))


def test_sums_are_those_of_mpmath_to_the_last_bit() -> None:
    sums, tops, _ = _table()
    with mpmath.workprec(2600):
        heights = [mpmath.exp(-mpmath.mpf(i * i) / 8192) for i in range(SUPPORT * 64)]
        total, running = mpmath.fsum(heights), mpmath.mpf(0)
        for i, height in enumerate(heights[:-1]):
            running += height
            assert sums[i] == int(mpmath.ldexp(running / total, 2368))
    assert len(sums) == SUPPORT * 64 - 1
    assert [int(t) for t in tops] == [s >> 2304 for s in sums]
    # The last stair is known to far more digits than η asks for.
    assert (2**2368 - sums[-1]).bit_length() > 90


def test_exponential_is_within_4_units_in_the_last_place() -> None:
    v = np.random.default_rng(0).uniform(0, SUPPORT / 64 + 2**-12, 20_000)
    computed = np.exp(-v)
    units = [
        abs(mpmath.mpf(float(c)) - mpmath.exp(-mpmath.mpf(float(x)))) / float(np.spacing(c))
        for x, c in zip(v, computed, strict=True)
    ]
    assert max(units) < 4


def test_probability_of_each_whole_number_is_within_eta() -> None:
    """Stair, place and acceptance multiplied out for some K, and divided by the normal integral over K's cell."""
    sums = [0, *_table()[0], 2**2368]
    rng = np.random.default_rng(1)
    stairs = np.append([0, 0, 1, 63, 64, 640, 3583], rng.integers(0, SUPPORT * 64, 60))
    with mpmath.workprec(2600):
        total = mpmath.fsum(mpmath.exp(-mpmath.mpf(i * i) / 8192) for i in range(SUPPORT * 64))
        kept = mpmath.sqrt(mpmath.pi / 2) * 64 / total  # the chance that an attempt is kept
        for stair in map(int, stairs):
            place = int(rng.integers(0, 2**24))
            middle = (place + 0.5) * 2.0**-GRID_BITS
            a = np.floor(np.exp(-(stair * 2.0**-6 + middle / 2) * middle) * 2.0**53) * 2.0**-53
            sampled = mpmath.mpf(sums[stair + 1] - sums[stair]) / 2**2368 / 2**24 / 2 * float(a) / kept
            low = mpmath.mpf(stair * 2**24 + place) / 2**GRID_BITS
            high = low + mpmath.mpf(2) ** -GRID_BITS
            root = mpmath.sqrt(2)
            ideal = (mpmath.erfc(low / root) - mpmath.erfc(high / root)) / 2
            assert abs(sampled / ideal - 1) < RELATIVE_ERROR


@pytest.mark.parametrize("stair", [0, 1, 50, 200])
def test_stair_is_decided_to_the_last_bit(stair: int) -> None:
    """A word next to a sum decides; one equal to its first 64 bits leaves it to the bits that follow."""
    edge = np.uint64(_table()[0][stair] >> 2304)
    one, ones = np.uint64(1), 2**64 - 1
    assert _stairs(Words([edge - one]), 1) == stair
    assert _stairs(Words([edge + one]), 1) == stair + 1
    assert _stairs(Words([edge], more=0), 1) == stair
    assert _stairs(Words([edge], more=ones), 1) == stair + 1


def test_far_tail_is_decided_by_the_bits_that_follow() -> None:
    sums, ones = _table()[0], 2**64 - 1
    for stair in (700, 2000, 3582):
        for first, expected in ((sums[stair] - 1, stair), (sums[stair], stair + 1)):
            words = [first >> (2304 - 64 * i) & ones for i in range(37)]
            assert words[0] == ones  # beyond 9.1 deviations the first word alone says nothing
            assert _decide(words[0], Words(words[1:])) == expected
            assert _stairs(Words(words), 1) == expected


def test_guide_agrees_with_the_search() -> None:
    _, tops, guide = _table()
    words = np.random.default_rng(2).integers(0, 2**64, 200_000, dtype=np.uint64)
    np.testing.assert_array_equal(_stairs(Words(words), len(words)), np.searchsorted(tops, words, side="right"))
    assert 0 < (guide < 0).mean() < 0.01


def test_place_sign_and_acceptance() -> None:
    """One attempt after the other, words chosen: stair, place and sign, acceptance."""
    low, high = 0, 2**64 - 1
    place = 12_345 << 40
    rejected = [low, place, high]  # U = 1 is above every acceptance
    for sign, drawn in ((0, 12_345), (1, -12_346)):
        words = np.array([rejected, [low, place | sign, low]], dtype=np.uint64).T.ravel()
        stream = Words(words)
        stream.uniforms = lambda count, stream=stream: (
            ((stream.words(count) >> np.uint64(11)) + np.uint64(1)) * 2.0**-53
        )
        np.testing.assert_array_equal(module._attempts(stream, 2, GRID_BITS), [drawn])


@pytest.mark.parametrize("count", [0, 1, 2, 63, 5000])
def test_count_is_kept(count: int) -> None:
    drawn = whole_noise(CipherStream(1), count)
    assert drawn.shape == (count,) and drawn.dtype == np.int64


def test_more_attempts_follow_where_the_first_do_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts, sizes = module._attempts, []

    def few(*arguments):
        sizes.append(arguments[1])
        return attempts(*arguments)[:10]

    monkeypatch.setattr(module, "_attempts", few)
    assert len(np.unique(whole_noise(CipherStream(1), 35))) == 35
    assert len(sizes) == 4
