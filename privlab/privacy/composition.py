"""The loss of many different steps together: their distributions on one grid, composed by FFT.

The arithmetic is that of dp-accounting's ``PLDAccountant``, on the same grid of 1e-4 where that is affordable. It is
written on whole arrays here because a form asks at each keystroke and a chart for 60 points at once: the logarithms of
the steps' spectra are added up once along the training, and each point costs one inverse FFT. On the same grid it agrees
with ``PLDAccountant`` to 1e-6 (the tests compare them).

A power of T multiplies the rounding errors of a logarithm by T. They are therefore kept in extended precision; where that
would be slow (many distinct steps), what they can amount to is counted as infinite loss instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from privlab.privacy.loss import Loss
from privlab.privacy.pair import Pair, Step
from privlab.privacy.phases import Phases, total_steps

#: Grid spacing of dp-accounting's default, in nats; the finest used, so that published values are met.
FINEST = 1e-4
#: Grid spacing in nats beyond which an answer would say nothing.
_COARSEST = 0.5
#: Mass cut from a composed distribution, and counted as infinite loss; more than the rounding errors of one inverse FFT.
_TAIL = 1e-14
#: Distinct steps up to which extended precision is affordable, and what each step is charged beyond.
_PRECISE, _ROUNDING = 12, 1e-16
_TURN = 8 * np.arctan(np.longdouble(1))
#: Frequencies whose amplitude falls below e^-60 add nothing to a double.
_NEGLIGIBLE = -60.0
#: Deviations below this are next to no loss at all.
_LEAST_DEVIATION = 1e-12
#: Most grid points of a single step when only the width of the composed distribution is wanted.
_SCOUT_POINTS = 4096


@dataclass(frozen=True)
class Grid:
    """How fine the grid is.

    Attributes:
        resolution: points per standard deviation of a step's loss; None keeps :data:`FINEST`. Over many steps the excess
            of ε is about ε / (12·resolution²).
        most_points: the spacing is doubled until no composed distribution is longer than about this.
    """

    resolution: float | None
    most_points: int


class Composition:
    """Phases of Poisson-subsampled Gaussian steps, on one grid for all pairs.

    Args:
        phases: the steps in order.
        pairs: how neighbouring data sets differ; the worst counts.
        grid: its fineness.
        least_steps: smallest number of steps that will be asked for; fewer give a valid but wider window.
    """

    def __init__(self, phases: Phases, pairs: Sequence[Pair], grid: Grid, least_steps: int):
        deviations = [
            max(_LEAST_DEVIATION, Step(p.sample_rate, p.noise_multiplier, pairs[0]).deviation()) for p in phases
        ]
        orders = _orders(phases, deviations, least_steps)
        spacing = self._spacing(phases, pairs, grid, deviations, orders)
        #: Empty where the loss is beyond reckoning (ε in the tens of thousands).
        self.composers = [_Composer(phases, pair, spacing, orders) for pair in pairs] if spacing <= _COARSEST else []
        self.spacing = spacing

    @staticmethod
    def _spacing(
        phases: Phases, pairs: Sequence[Pair], grid: Grid, deviations: list[float], orders: np.ndarray
    ) -> float:
        span = 0.0
        for pair in pairs:
            width = _Width(len(orders))
            for phase, deviation in zip(phases, deviations, strict=True):
                step = Step(phase.sample_rate, phase.noise_multiplier, pair)
                low, high = step.bounds()
                span = max(span, high - low)
                if span > _COARSEST * grid.most_points:
                    return math.inf
                scout = max(deviation / 20, (high - low) / _SCOUT_POINTS)
                width.add(_Moments(step.loss(scout), orders), phase.steps)
            bottom, top = width.window(orders)
            span = max(span, top - bottom)
        # A step adds about spacing²/12 to the variance, so it is the steps' mean variance that counts.
        squares = sum(phase.steps * deviation**2 for phase, deviation in zip(phases, deviations, strict=True))
        deviation = math.sqrt(squares / total_steps(phases))
        # Doubling keeps each grid a multiple of every finer one, so that a coarser grid never gives a smaller ε.
        multiple = 1
        while grid.resolution is not None and multiple * 2 * FINEST * grid.resolution <= deviation:
            multiple *= 2
        while span > grid.most_points * multiple * FINEST:
            multiple *= 2
        return multiple * FINEST

    def worst(self, steps: Sequence[int], ask: Callable[[Loss], float], beyond: float) -> np.ndarray:
        """``ask`` of the loss after each of ``steps``, the worst over all pairs, shape (len(steps),); ``beyond`` where the
        loss is beyond reckoning. Raises ValueError for a number of steps that is not there."""
        found = np.full(len(steps), beyond)
        for place, composer in enumerate(self.composers):
            answers = composer.along(steps, ask)
            found = answers if place == 0 else np.maximum(found, answers)
        return found

    def after(self, steps: int) -> list[Loss]:
        """Loss of the first ``steps`` steps, one for each pair; empty where it is beyond reckoning."""
        found: list[Loss] = []
        for composer in self.composers:
            composer.along([steps], lambda loss: found.append(loss) or 0.0)
        return found


class _Moments:
    """log E[e^(λL)] of one step's loss at each order λ, and at each −λ; the orders double."""

    def __init__(self, loss: Loss, orders: np.ndarray):
        kept = loss.probs > 0
        losses, probs = loss.losses()[kept], loss.probs[kept]
        self.low, self.high = float(losses[0]), float(losses[-1])
        self.above = self._logs(losses - self.high, probs, orders) + orders * self.high
        self.below = self._logs(self.low - losses, probs, orders) - orders * self.low

    @staticmethod
    def _logs(below_zero: np.ndarray, probs: np.ndarray, orders: np.ndarray) -> np.ndarray:
        power, found = np.exp(orders[0] * below_zero), np.empty(len(orders))
        for place in range(len(orders)):
            found[place] = power @ probs
            power *= power
        return np.log(found)


class _Width:
    """How far the loss of steps that are added one by one can reach: the Chernoff bound from their moments."""

    def __init__(self, orders: int):
        self.above, self.below = np.zeros(orders), np.zeros(orders)
        self.low = self.high = 0.0

    def add(self, moments: _Moments, steps: int) -> None:
        self.above = self.above + steps * moments.above
        self.below = self.below + steps * moments.below
        self.low += steps * moments.low
        self.high += steps * moments.high

    def window(self, orders: np.ndarray) -> tuple[float, float]:
        """Losses in nats between which all but ``_TAIL`` of the mass lies."""
        rest = math.log(2 / _TAIL)
        high = float(np.min((self.above + rest) / orders))
        low = float(np.max(-(self.below + rest) / orders))
        return max(low, self.low), min(high, self.high)


def _orders(phases: Phases, deviations: list[float], least_steps: int) -> np.ndarray:
    """Orders of the moments, doubling. The best for a normal loss of deviation s is √(2·log(2/tail))/s; one off by √2 widens
    it by 6 %. There is room below for heavy tails, where orders near 1 are best."""
    squares = [phase.steps * deviation**2 for phase, deviation in zip(phases, deviations, strict=True)]
    best = math.sqrt(2 * math.log(2 / _TAIL))
    most = 2 * best / (min(deviations) * math.sqrt(least_steps))
    least = min(0.5, 0.05 * best / math.sqrt(sum(squares)))
    return least * 2.0 ** np.arange(math.ceil(math.log2(most / least)) + 1)


class _Part:
    """One distinct step on the grid, with its moments and spectra."""

    def __init__(self, loss: Loss, orders: np.ndarray, precision: type):
        self.loss, self.moments, self._precision = loss, _Moments(loss, orders), precision
        # Nearest grid point to the mean, counted from the first. Centred, the phases that matter stay near zero and a large
        # power keeps its precision.
        self.centre = round(float(np.arange(len(loss.probs)) @ loss.probs) / float(loss.probs.sum()))
        self._spectra: dict[int, np.ndarray] = {}

    def spectrum(self, size: int) -> np.ndarray:
        """Log of the spectrum on ``size`` points, shape (size/2 + 1,), complex; the real and imaginary parts in turn."""
        if size not in self._spectra:
            from scipy import fft

            probs = self.loss.probs
            turns = -(-len(probs) // size)
            padded = np.zeros(turns * size, self._precision)
            padded[: len(probs)] = probs
            folded = np.roll(padded.reshape(turns, size).sum(axis=0), -self.centre)
            with np.errstate(divide="ignore"):
                self._spectra[size] = np.log(fft.rfft(folded)).view(self._precision)
        return self._spectra[size]


class _Composer:
    """The loss of any number of the first steps, seen through one pair."""

    def __init__(self, phases: Phases, pair: Pair, spacing: float, orders: np.ndarray):
        self._spacing, self._orders, self._phases = spacing, orders, phases
        made: dict[tuple[float, float], _Part] = {}
        precise = len({(phase.sample_rate, phase.noise_multiplier) for phase in phases}) <= _PRECISE
        self._precision, self._charge = (np.longdouble, 0.0) if precise else (np.float64, _ROUNDING)
        for phase in phases:
            key = (phase.sample_rate, phase.noise_multiplier)
            if key not in made:
                made[key] = _Part(Step(*key, pair).loss(spacing), orders, self._precision)
        self._steps = [made[(phase.sample_rate, phase.noise_multiplier)] for phase in phases]

    def along(self, steps: Sequence[int], ask: Callable[[Loss], float]) -> np.ndarray:
        """``ask`` of the loss after each of ``steps``, shape (len(steps),), in one pass over the phases."""
        order = np.argsort(np.asarray(steps, dtype=int), kind="stable")
        prefixes = [self._prefix(steps[place]) for place in order]
        windows = [self._window(parts) for parts in prefixes]
        size = _ladder(max(last - first + 1 for first, last in windows))
        found, logs, done = np.empty(len(steps)), None, []
        for place, parts, window in zip(order, prefixes, windows, strict=True):
            if sum(count for _, count in parts) == 1:
                found[place] = ask(self._steps[parts[0][0]].loss)
                continue
            logs = self._added(logs, done, parts, size)
            done = parts
            found[place] = ask(self._loss(parts, window, logs, size))
        return found

    def _prefix(self, steps: int) -> list[tuple[int, int]]:
        """Places of the phases that the first ``steps`` steps touch, with how many steps of each."""
        if not 1 <= steps <= total_steps(self._phases):
            raise ValueError(f"steps={steps} must lie between 1 and {total_steps(self._phases)}.")
        parts, left = [], int(steps)
        for place, phase in enumerate(self._phases):
            if left < 1:
                break
            parts.append((place, min(left, phase.steps)))
            left -= phase.steps
        return parts

    def _window(self, parts: list[tuple[int, int]]) -> tuple[int, int]:
        """First and last grid point of the composed loss."""
        width = _Width(len(self._orders))
        for place, count in parts:
            width.add(self._steps[place].moments, count)
        low, high = width.window(self._orders)
        return math.floor(low / self._spacing), math.ceil(high / self._spacing)

    def _added(
        self, logs: np.ndarray | None, done: list[tuple[int, int]], parts: list[tuple[int, int]], size: int
    ) -> np.ndarray:
        """Log spectrum of ``parts``, from that of the earlier ``done``: real and imaginary parts in turn, for a whole number
        times a complex -∞ is no number."""
        logs = np.zeros(size + 2, self._precision) if logs is None else logs
        for place, count in parts[max(0, len(done) - 1) :]:
            already = done[place][1] if place < len(done) else 0
            if count > already:
                logs += (count - already) * self._steps[place].spectrum(size)
        return logs

    def _loss(self, parts: list[tuple[int, int]], window: tuple[int, int], logs: np.ndarray, size: int) -> Loss:
        from scipy import fft

        first, last = window
        # A distribution folded to half as many points has every other frequency.
        stride = 1
        while size % (stride * 2) == 0 and size // (stride * 2) >= max(16, last - first + 1):
            stride *= 2
        log_amplitude, phase = logs[:: 2 * stride], logs[1 :: 2 * stride]
        kept = log_amplitude > _NEGLIGIBLE
        power = np.zeros(len(kept), dtype=complex)
        power[kept] = np.exp(log_amplitude[kept].astype(float) + 1j * np.remainder(phase[kept], _TURN).astype(float))
        whole = fft.irfft(power, size // stride)
        origin = sum(count * (self._steps[place].loss.first + self._steps[place].centre) for place, count in parts)
        start = (first - origin) % (size // stride)
        probs = np.roll(whole, -start)[: last - first + 1]
        finite = sum(count * math.log1p(-self._steps[place].loss.infinity) for place, count in parts)
        steps = sum(count for _, count in parts)
        return Loss(first, probs, _TAIL + steps * self._charge - math.expm1(finite), self._spacing)


def _ladder(points: int) -> int:
    """Smallest 2^j or 3·2^j that holds ``points``: quick to FFT, and to halve."""
    power = 1 << max(4, (points - 1).bit_length())
    return power * 3 // 4 if power * 3 // 4 >= points else power
