"""What a run measures: each metric declared once, with its unit, better direction and release class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Release(StrEnum):
    """Whether the privacy guarantee covers a number, which every chart must say."""

    RELEASED = "covered by the guarantee"
    MODEL = "as private as the model"
    TEST_DATA = "public test data"
    PRIVATE = "private diagnostic"
    OPERATIONAL = "machine timing"

    @property
    def explanation(self) -> str:
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    Release.RELEASED: "Follows from the noisy updates or the public settings alone, so the (ε, δ) guarantee covers it.",
    Release.MODEL: "Computed from the released weights and from made-up or public inputs: the run's guarantee covers it, where the run "
    "has one.",
    Release.TEST_DATA: "The released model measured on test records, which are treated as public.",
    Release.PRIVATE: "Computed from training records and not covered by the guarantee: do not publish it.",
    Release.OPERATIONAL: "Time, traffic and rounding on this machine. They vary with the drawn batches and are not covered "
    "by the guarantee.",
}


#: What a report that is handed on may show: private diagnostics and timings are covered by no guarantee.
SHARED = frozenset({Release.RELEASED, Release.MODEL, Release.TEST_DATA})


@dataclass(frozen=True)
class Metric:
    """Declaration of one measured number.

    Attributes:
        key: name in points, CSV and JSON.
        label: name on axes and tiles.
        unit: ``share`` (0…1, shown as per cent), ``s``, ``B``, ``records``, or empty.
        better: ``up``, ``down`` or empty where neither is better.
        release: see :class:`Release`.
        help: one sentence in plain words.
    """

    key: str
    label: str
    unit: str
    better: str
    release: Release
    help: str

    def show(self, value: float, digits: int = 2) -> str:
        """``value`` as people read it; a share gets ``digits`` after the point."""
        return f"{100 * value:.{digits}f} %" if self.unit == "share" else f"{value:,.4g}"


def show_epsilon(epsilon: float) -> str:
    """ε as people read it: ``ε = 2.998``."""
    return "ε = ∞" if math.isinf(epsilon) else f"ε = {epsilon:.4g}"


#: The seven steps of the article, in order, the first two in more detail where a store keeps the parameters as ciphertext;
#: ``time_<phase>`` is the seconds that a training step spends in each.
PHASES: dict[str, str] = {
    "load": "1 load parameters",
    "decrypt": "1 load: decrypt",
    "encrypt": "2 encrypt parameters",
    "transfer": "2 encrypt: to and from the server",
    "gradients": "3 per-sample gradients",
    "clip": "4 clip",
    "perturb": "5 perturb",
    "update": "6 update parameters",
    "repeat": "7 repeat: draw the next batch",
}

_T, _P, _O, _R, _M = Release.TEST_DATA, Release.PRIVATE, Release.OPERATIONAL, Release.RELEASED, Release.MODEL

METRICS: dict[str, Metric] = {
    m.key: m
    for m in (
        Metric("test_accuracy", "Test accuracy", "share", "up", _T, "Share of test records classified correctly."),
        Metric(
            "test_f1",
            "Test F1",
            "share",
            "up",
            _T,
            "Of two classes, how well the second (spam, positive, more than $50,000) is found: the harmonic mean of the share of "
            "its records that are found and the share of alarms that are right.",
        ),
        Metric(
            "test_perplexity",
            "Test perplexity",
            "",
            "down",
            _T,
            "Among how many equally likely next tokens the model hesitates on average on test texts; 1 is certainty. Models that "
            "cut texts into other tokens cannot be compared by it.",
        ),
        Metric(
            "test_bits",
            "Bits per token",
            "bits",
            "down",
            _T,
            "Bits that the model needs for each token of the test texts: the logarithm of the perplexity.",
        ),
        Metric(
            "test_loss",
            "Test loss",
            "",
            "down",
            _T,
            "Mean cross-entropy on test records; for language, on their tokens.",
        ),
        Metric(
            "exposure_max",
            "Exposure, most exposed secret",
            "bits",
            "down",
            _M,
            "How much likelier the released model finds the most exposed planted secret than codes that it never saw. At 10 bits it is the "
            "likeliest of 1,024; of what the model never learnt, one secret in 2ᵉ reaches e bits by chance.",
        ),
        Metric(
            "exposure_mean",
            "Exposure, mean",
            "bits",
            "down",
            _M,
            "Mean exposure of the planted secrets; 1.44 bits where the model learnt nothing of them.",
        ),
        Metric(
            "recited",
            "Secrets recited",
            "secrets",
            "down",
            _M,
            "Planted secrets that the released model says word by word when it is given their beginning.",
        ),
        Metric(
            "train_loss",
            "Training loss",
            "",
            "down",
            _P,
            "Mean cross-entropy on the records of recent batches; for language, the mean over each record's tokens first.",
        ),
        Metric(
            "grad_norm_p10",
            "Gradient norm, 10 %",
            "",
            "",
            _P,
            "A tenth of records have a shorter gradient before clipping.",
        ),
        Metric(
            "grad_norm_p50",
            "Gradient norm, median",
            "",
            "",
            _P,
            "Half of the records have a shorter gradient before clipping.",
        ),
        Metric(
            "grad_norm_p90",
            "Gradient norm, 90 %",
            "",
            "",
            _P,
            "A tenth of records have a longer gradient before clipping.",
        ),
        Metric("clipped_share", "Clipped share", "share", "", _P, "Share of records whose gradient was longer than C."),
        Metric(
            "snr",
            "Signal to noise",
            "",
            "up",
            _P,
            "Length of the clipped gradient sum over the expected length of the noise, σ·C·√d.",
        ),
        Metric(
            "batch_size",
            "Realised batch size",
            "records",
            "",
            _P,
            "Records that the coin flips drew for the last step.",
        ),
        Metric(
            "non_finite",
            "Records dropped",
            "records",
            "down",
            _P,
            "Records whose gradient was not a finite number; they were replaced by zero.",
        ),
        Metric("max_grad_norm", "Clipping bound C", "", "", _R, "The bound in force at this step."),
        Metric(
            "noise_multiplier",
            "Noise multiplier σ",
            "",
            "",
            _R,
            "The noise that ε counts at this step, in multiples of C; adaptive clipping splits it between gradients and count.",
        ),
        Metric(
            "quantile_share",
            "Not clipped, noisy",
            "share",
            "",
            _R,
            "Noisy share of gradients that were not longer than C, which adaptive clipping steers by; may leave 0 … 100 %.",
        ),
        Metric(
            "steps_per_second", "Steps per second", "1/s", "up", _O, "Training steps per second since the last point."
        ),
        Metric("time_evaluate", "Evaluation", "s", "down", _O, "Seconds that the last evaluation took."),
        *(
            Metric(f"time_{phase}", label, "s", "down", _O, f"Mean seconds per training step spent in “{label}”.")
            for phase, label in PHASES.items()
        ),
        Metric(
            "bytes_sent",
            "Bytes sent",
            "B",
            "down",
            _O,
            "Mean bytes that a training step sends to the server of an encrypted store, and to the party that sums under masks.",
        ),
        Metric(
            "bytes_received",
            "Bytes received",
            "B",
            "down",
            _O,
            "Mean bytes that a training step receives from the server of an encrypted store, and under masks.",
        ),
        Metric(
            "drift",
            "Drift of the store",
            "",
            "down",
            _O,
            "Largest difference of a stored parameter to the same sum of updates in float64.",
        ),
    )
}

#: What says how useful a model is, by the task that it is trained for.
UTILITY: dict[str, Metric] = {"classify": METRICS["test_accuracy"], "language": METRICS["test_perplexity"]}


def reached(measured: Mapping[str, float]) -> str:
    """How useful a model is, in words: ``test accuracy 97.10 %, test F1 93.00 %`` or ``test perplexity 8.25``; else empty."""
    keys = ("test_accuracy", "test_f1", "test_perplexity")
    return ", ".join(f"t{METRICS[key].label[1:]} {METRICS[key].show(measured[key])}" for key in keys if key in measured)


@dataclass(frozen=True)
class Point:
    """One measurement of a run, taken at the end of a logical batch.

    Attributes:
        step: logical batches done, from 1.
        epoch: expected passes over the data so far, ``step · q``.
        seconds: training and evaluation time so far, pauses left out.
        epsilon: ε spent at the run's δ; None where no guarantee is claimed (ε = ∞).
        metrics: values by key of :data:`METRICS`; a metric without a value at this point is left out.
    """

    step: int
    epoch: float
    seconds: float
    epsilon: float | None
    metrics: dict[str, float] = field(default_factory=dict)


#: Codes that a planted secret is ranked among, itself included, and how many of the secrets are watched.
SECRET_CODES, SECRETS_WATCHED = 1024, 10
#: Exposure that no secret can have more of, and the mean of one that a model learnt nothing of (an exponential variable), in bits.
EXPOSURE_CEILING, EXPOSURE_CHANCE = math.log2(SECRET_CODES), 1 / math.log(2)

#: Test records that each point of a curve is measured on: the first ones, always the same. The last point takes all of them.
SUBSET = 2000


@dataclass(frozen=True)
class Cost:
    """What one training step costs on this machine by one method, as :mod:`privlab.training.cost` measures it.

    Attributes:
        seconds: of a step, median. Where one thread of the CPU does all the work these are its processor seconds, which other
            programs on the machine do not stretch; elsewhere seconds by the clock.
        low, high: first and third quartile of the steps' seconds.
        memory: bytes at the peak beyond data and program: model, optimiser, gradients. None where it cannot be told.
        steps: steps measured.
        busy: seconds by the clock over processor seconds, 1 on a quiet machine; None where ``seconds`` are by the clock.
        evaluation: seconds of one evaluation on test records, as at a point of the curve.
        device: where it was computed.
    """

    seconds: float
    low: float
    high: float
    memory: int | None
    steps: int
    busy: float | None
    evaluation: float
    device: str


def size(count: float) -> str:
    """A number of bytes, in a unit that fits."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count:,.0f} B"
