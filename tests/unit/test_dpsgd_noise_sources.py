"""The sources of noise: one contract, the factory, tails, the grid, and the matrix of correlated noise."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch import Tensor

from privlab.dpsgd.cipher import CipherStream
from privlab.dpsgd.correlated import CorrelatedNoise, strategy
from privlab.dpsgd.gaussian import CipherNoise, IndependentNoise, NoiseSource, PlainNoise
from privlab.dpsgd.noise import noise_source
from privlab.dpsgd.randomness import plain_generator
from privlab.dpsgd.rounded import RoundedNoise
from privlab.privacy.rounding import GRID_BITS

CPU = torch.device("cpu")
SOURCES = {
    "cipher": lambda: noise_source("reproducible", "none", 1, CPU, 1),
    "plain": lambda: PlainNoise(torch.Generator().manual_seed(1)),
    "rounded": lambda: noise_source("reproducible", "rounded", 1, CPU, 1),
    "correlated": lambda: noise_source("reproducible", "none", 3, CPU, 1),
}


class Words:
    """A stream whose first words are known; the rest are 0."""

    is_forked = False

    def __init__(self, *words: int):
        self._words = np.array(words, dtype=np.uint64)

    def fill(self, out: np.ndarray) -> None:
        out[:] = 0
        out[: len(self._words)] = self._words


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_contract(make) -> None:
    source = make()
    sums = [torch.full((7, 3), 5.0), torch.zeros(2), torch.ones(1, 2, 3, 4).to(memory_format=torch.channels_last)]
    kept = [s.clone() for s in sums]
    noisy = source.perturb(sums, 1e-3)
    assert isinstance(source, NoiseSource)
    for before, after, still in zip(sums, noisy, kept, strict=True):
        assert torch.equal(before, still)
        assert after.shape == before.shape and after.dtype == torch.float32 and after.device == before.device
        assert 0 < (after - before).abs().max() < 0.02
        assert len(torch.unique(after - before)) > 0.9 * after.numel()
    again = source.perturb(sums, 1e-3)
    assert all((a != b).all() for a, b in zip(noisy, again, strict=True))


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_noise_is_scaled_by_std(make) -> None:
    zero = [torch.zeros(50)]
    small, large = make().perturb(zero, 0.5)[0], make().perturb(zero, 32.0)[0]
    torch.testing.assert_close(large, small * 64, rtol=1e-6, atol=1e-7)


def test_factory_gives_what_is_asked_for() -> None:
    kinds = {
        ("private", "none", 1): CipherNoise,
        ("plain", "none", 1): PlainNoise,
        ("reproducible", "none", 1): CipherNoise,
        ("private", "rounded", 1): RoundedNoise,
        ("reproducible", "rounded", 1): RoundedNoise,
        ("private", "none", 4): CorrelatedNoise,
        ("plain", "none", 4): CorrelatedNoise,
    }
    for (policy, protection, bands), kind in kinds.items():
        assert type(noise_source(policy, protection, bands, CPU, 3)) is kind


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("private", "rounded", 2, CPU, 1), "protection=rounded with bands=2"),
        (("plain", "rounded", 1, CPU, 1), "protection=rounded with randomness=plain"),
        (("private", "grid", 1, CPU, 1), "protection='grid'"),
        (("secret", "none", 1, CPU, 1), "randomness='secret'"),
        (("reproducible", "none", 1, CPU, None), "needs a seed"),
    ],
)
def test_factory_refuses(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        noise_source(*arguments)


@pytest.mark.parametrize("protection", ["none", "rounded"])
@pytest.mark.parametrize("policy", ["private", "plain", "reproducible"])
def test_only_a_reproducible_run_repeats(policy: str, protection: str) -> None:
    if (policy, protection) == ("plain", "rounded"):
        policy = "private"  # plain is refused
    one, two = (noise_source(policy, protection, 1, CPU, 7).perturb([torch.zeros(8)], 1.0)[0] for _ in range(2))
    assert torch.equal(one, two) is (policy == "reproducible")


@pytest.mark.parametrize("protection", ["none", "rounded"])
def test_position_goes_on_where_it_was(protection: str) -> None:
    first, zero = noise_source("reproducible", protection, 1, CPU, 7), [torch.zeros(33)]
    first.perturb(zero, 1.0)
    state = first.state
    assert type(state) is int
    expected = first.perturb(zero, 1.0)[0]
    second = noise_source("reproducible", protection, 1, CPU, 7)
    second.state = state
    assert torch.equal(second.perturb(zero, 1.0)[0], expected)


@pytest.mark.parametrize("protection", ["none", "rounded"])
def test_forked_child_draws_other_noise(protection: str) -> None:
    source, reading_writing = noise_source("private", protection, 1, CPU, None), os.pipe()
    source.perturb([torch.zeros(16)], 1.0)  # so that noise made ahead is there to be inherited
    child = os.fork()
    if not child:
        os.write(reading_writing[1], source.perturb([torch.zeros(16)], 1.0)[0].numpy().tobytes())
        os._exit(0)
    os.close(reading_writing[1])
    with os.fdopen(reading_writing[0], "rb") as pipe:
        theirs = np.frombuffer(pipe.read(), dtype=np.float32)
    os.waitpid(child, 0)
    ours = source.perturb([torch.zeros(16)], 1.0)[0].numpy()
    assert len(theirs) == 16 and not np.isin(theirs, ours).any()


def test_tail_of_cipher_noise_is_right_to_nine_deviations() -> None:
    """Words chosen for known U, angle 0: the cosine's value is the radius."""
    for exponent in range(0, 63):
        word = 1 << exponent
        radius = CipherNoise(Words(word)).normal(1, CPU).item()
        assert radius == pytest.approx(np.sqrt(2 * np.log(2) * (63 - exponent - np.log2(1 + 0.5 / word))), rel=3e-7)
    assert CipherNoise(Words(0)).normal(1, CPU).item() == pytest.approx(9.4193, abs=1e-4)
    # The largest word rounds to U = 1; nothing is ever infinite or not a number.
    assert CipherNoise(Words(2**64 - 1)).normal(1, CPU).item() == 0


def test_values_do_not_depend_on_how_many_are_asked_for_at_once() -> None:
    counts = (1, 2, 3, 2**15 - 1, 2**15, 2**15 + 1, 100_001)
    source = noise_source("reproducible", "none", 1, CPU, 1)
    parts = [source.normal(count, CPU) for count in counts]
    assert [len(part) for part in parts] == list(counts)
    whole = noise_source("reproducible", "none", 1, CPU, 1).normal(sum(counts), CPU)
    assert torch.equal(torch.cat(parts), whole)
    assert len(torch.unique(whole)) > 0.95 * len(whole)


@pytest.mark.parametrize("given", [0, 1, 2**15 - 1, 2**15, 2**15 + 7, 3 * 2**15])
def test_position_is_found_in_every_block(given: int) -> None:
    source = noise_source("reproducible", "none", 1, CPU, 1)
    source.normal(given, CPU)
    assert source.state == given
    other = noise_source("reproducible", "none", 1, CPU, 1)
    other.state = given
    assert other.state == given
    assert torch.equal(other.normal(40_000, CPU), source.normal(40_000, CPU))


def test_entropy_fills_the_whole_state_of_the_plain_generator() -> None:
    states = [plain_generator(CPU).get_state() for _ in range(3)]
    words = [s.numpy()[24 : 24 + 8 * 624].view(np.uint64) for s in states]
    assert all((w < 2**32).all() and len(np.unique(w)) > 620 for w in words)
    assert not np.isin(words[0], words[1]).any() and not np.isin(words[1], words[2]).any()
    # The state is none that PyTorch's own 32-bit seeding gives.
    own = torch.Generator().manual_seed(int.from_bytes(bytes(states[0].numpy()[24:28]), "little")).get_state()
    assert not torch.equal(own, states[0])


# Rounded noise


def test_rounded_noise_lands_on_the_middle_of_grid_cells() -> None:
    """With sums below a deviation float32 holds few enough digits to see the grid: std = 2³⁰ makes a step 1."""
    std = 2.0**GRID_BITS
    noise = noise_source("reproducible", "rounded", 1, CPU, 1)
    one = noise.perturb([torch.zeros(4000)], std)[0].double()
    near = one[one.abs() < 2**22]  # float32 holds halves up to here
    assert len(near) > 5
    assert (near % 1 == 0.5).all()


def test_rounded_noise_moves_with_the_sum_in_whole_steps() -> None:
    std, made = 2.0**GRID_BITS, []
    for shift in (0.0, 0.4, 0.6, 3.0, -3.0, 1e6):
        source = noise_source("reproducible", "rounded", 1, CPU, 1)
        made.append(source.perturb([torch.full((4000,), shift)], std)[0].double())
    near = made[0].abs() < 2**20
    for values, steps in zip(made, (0, 0, 1, 3, -3, 10**6), strict=True):
        np.testing.assert_array_equal((values - made[0])[near], steps)


def test_rounded_sums_are_held() -> None:
    noisy = noise_source("reproducible", "rounded", 1, CPU, 1).perturb([torch.tensor([1e30, -1e30])], 1.0)[0]
    torch.testing.assert_close(noisy, torch.tensor([2.0**20, -(2.0**20)]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_rounded_noise_needs_a_grid(std: float) -> None:
    with pytest.raises(ValueError, match="std="):
        noise_source("private", "rounded", 1, CPU, None).perturb([torch.zeros(2)], std)


# Correlated noise


class Recorded(IndependentNoise):
    """Independent noise that remembers its rows."""

    def __init__(self):
        self._inner, self.rows = noise_source("reproducible", "none", 1, CPU, 3), []

    def normal(self, count: int, device: torch.device) -> Tensor:
        noise = self._inner.normal(count, device)
        self.rows.append(noise.double().numpy().copy())
        return noise


def matrix(bands: int, blocks: tuple[int, ...]) -> np.ndarray:
    """C of a run in stretches of so many steps, dense (T, T)."""
    whole, first = np.zeros((sum(blocks), sum(blocks))), 0
    for size in blocks:
        for k, c in enumerate(strategy(bands)[:size]):
            whole[first : first + size, first : first + size] += np.diag(np.full(size - k, c), -k)
        first += size
    return whole


def test_strategy_is_the_square_root_of_prefix_sums() -> None:
    np.testing.assert_allclose(strategy(5) / strategy(5)[0], [1, 1 / 2, 3 / 8, 5 / 16, 35 / 128], rtol=1e-15)
    root = sum(np.diag(np.full(64 - k, c), -k) for k, c in enumerate(strategy(64) / strategy(64)[0]))
    np.testing.assert_allclose(root @ root, np.tri(64), atol=1e-13)
    assert strategy(1) == 1
    with pytest.raises(ValueError, match="bands=0"):
        strategy(0)


@pytest.mark.parametrize("bands", [1, 2, 5, 64])
@pytest.mark.parametrize("blocks", [(30,), (7, 1, 22)])
def test_strategy_has_bands_and_short_columns(bands: int, blocks: tuple[int, ...]) -> None:
    c = matrix(bands, blocks)
    assert (np.linalg.norm(c, axis=0) <= 1 + 1e-12).all()
    rows, columns = np.nonzero(c)
    assert ((rows >= columns) & (rows - columns < bands)).all()


@pytest.mark.parametrize("bands", [1, 2, 3, 8, 40])
def test_rows_are_those_of_the_dense_inverse(bands: int) -> None:
    inner = Recorded()
    source = CorrelatedNoise(inner, bands)
    rows = []
    for block in (11, 2, 17):
        source.reset()
        rows += [source.perturb([torch.zeros(5, 4), torch.zeros(3)], 2.0) for _ in range(block)]
    flat = np.array([torch.cat([t.flatten() for t in row]).double().numpy() for row in rows])
    expected = 2 * np.linalg.solve(matrix(bands, (11, 2, 17)), np.array(inner.rows))
    np.testing.assert_allclose(flat, expected, atol=1e-5)


def test_state_of_correlated_noise_holds_no_noise() -> None:
    source = noise_source("reproducible", "none", 4, CPU, 3)
    for _ in range(3):
        source.perturb([torch.zeros(9)], 1.0)
    assert type(source.state) is int
    source.state = source.state
    z = noise_source("reproducible", "none", 1, CPU, 3)
    z.state = source.state
    # The first row after a resume is that of a new block.
    torch.testing.assert_close(
        source.perturb([torch.zeros(9)], 1.0)[0], z.perturb([torch.zeros(9)], 1.0)[0] / strategy(4)[0]
    )


def test_another_size_is_refused() -> None:
    source = noise_source("private", "none", 3, CPU, None)
    source.perturb([torch.zeros(9)], 1.0)
    with pytest.raises(ValueError, match="8 values of noise are asked for, but the steps before had 9"):
        source.perturb([torch.zeros(8)], 1.0)


def test_private_stream_cannot_be_kept() -> None:
    for bands in (1, 3):
        with pytest.raises(ValueError, match="without a seed"):
            _ = noise_source("private", "none", bands, CPU, 5).state


def test_cipher_noise_takes_a_stream() -> None:
    assert torch.equal(
        CipherNoise(CipherStream(7, "noise")).normal(4, CPU),
        noise_source("reproducible", "none", 1, CPU, 7).normal(4, CPU),
    )
