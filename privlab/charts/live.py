"""What the live panel shows: charts, tiles and reference marks, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

from privlab.metrics import EXPOSURE_CEILING, EXPOSURE_CHANCE, METRICS, PHASES, SECRET_CODES, Release

#: What an x axis can show, with its title.
X_AXES: dict[str, str] = {
    "epsilon": "ε spent (smaller is more private)",
    "step": "Step (logical batches)",
    "epoch": "Epoch (expected passes over the data)",
    "seconds": "Seconds of training and evaluation",
}


@dataclass(frozen=True)
class Mark:
    """A published result drawn as a labelled point. ``epsilon`` > 0, ``value`` in the unit of the chart's y axis."""

    epsilon: float
    value: float
    label: str
    source: str = ""
    note: str = ""


@dataclass(frozen=True)
class Level:
    """A constant line across a chart, for example the clipping bound C; ``below`` puts its name under it."""

    value: float
    label: str
    below: bool = False


@dataclass(frozen=True)
class Panel:
    """One chart of the live panel.

    Attributes:
        key: name within the live panel, also its test id ``live-chart-<key>``.
        title: heading of the chart.
        metrics: keys of :data:`privlab.metrics.METRICS`, one line each for each run.
        y_title: title of the y axis, unit included.
        percent: y is a share 0…1 shown as per cent.
        log_y: y on a log scale.
        levels: constant lines.
        marks: draw the live panel's reference marks on this chart (only while x is ε).
        level: on an ε axis, draw a run without a guarantee as a level line; otherwise a chart of such runs shows steps.
        stacked: add the metrics up as areas; for a single run.
        sparse: measured at some points only; lines go on between them.
        x: a fixed x axis of this chart; None follows the toolbar.
        help: one sentence shown when the pointer rests on the title.
    """

    key: str
    title: str
    metrics: tuple[str, ...]
    y_title: str = ""
    percent: bool = False
    log_y: bool = False
    levels: tuple[Level, ...] = ()
    marks: bool = False
    level: bool = False
    stacked: bool = False
    sparse: bool = False
    x: str | None = None
    help: str = ""

    def __post_init__(self) -> None:
        unknown = [m for m in self.metrics if m not in METRICS]
        if unknown or not self.metrics:
            raise ValueError(f"panel {self.key!r}: metrics={unknown or '()'} not declared in privlab.metrics.")
        if self.x is not None and self.x not in X_AXES:
            raise ValueError(f"panel {self.key!r}: x={self.x!r} is not one of {', '.join(X_AXES)}.")

    @property
    def releases(self) -> tuple[Release, ...]:
        """The release classes of what the chart shows, each once."""
        return tuple(dict.fromkeys(METRICS[m].release for m in self.metrics))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the browser, labels and release classes filled in."""
        return asdict(self) | {
            "metrics": [{"key": m, "label": METRICS[m].label} for m in self.metrics],
            "releases": [{"name": r.value, "about": r.explanation} for r in self.releases],
        }


TileKind = Literal["epsilon", "accuracy", "speed", "time_left", "clipped"]


@dataclass(frozen=True)
class Tile:
    """One live number. ``kind`` decides how the browser computes it from the stream."""

    kind: TileKind
    label: str
    release: Release
    help: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "label": self.label,
            "release": self.release.value,
            "about": self.release.explanation,
            "help": self.help,
        }


TILES: tuple[Tile, ...] = (
    Tile("epsilon", "ε spent", Release.RELEASED, "Privacy spent so far, and the share of the run's target."),
    Tile(
        "accuracy", "Accuracy", Release.TEST_DATA, f"{METRICS['test_accuracy'].help} For language: the test perplexity."
    ),
    Tile("speed", "Steps per second", Release.OPERATIONAL, METRICS["steps_per_second"].help),
    Tile("time_left", "Time left", Release.OPERATIONAL, "Steps left at the pace of the last points."),
    Tile("clipped", "Clipped share", Release.PRIVATE, METRICS["clipped_share"].help),
)


class _Plan(Protocol):
    """The facts of a :class:`privlab.privacy.PrivacyPlan` that charts show."""

    batch_size: int
    max_grad_norm: float | None
    noise_multiplier: float
    delta: float

    @property
    def sample_rate(self) -> float: ...


class _Reference(Protocol):
    """What a published result of the data catalogue offers."""

    epsilon: float
    accuracy: float
    delta: float
    label: str
    source: str
    note: str


def reference_marks(references: Iterable[_Reference]) -> tuple[Mark, ...]:
    """Published accuracies as marks. A result without a finite ε has no place on an ε axis and is left out."""
    return tuple(
        Mark(r.epsilon, r.accuracy, r.label, r.source, " · ".join(x for x in (f"δ = {r.delta:g}", r.note) if x))
        for r in references
        if r.epsilon is not None and 0 < r.epsilon < float("inf")
    )


def level_name(label: str) -> str:
    """Name of a run without a guarantee on an ε axis: says ε = ∞, once. The twin of ``levelName`` in ui/assets/chart.js."""
    return label if "ε = ∞" in label else f"{label} · ε = ∞"


def settings_line(plan: _Plan) -> str:
    """The settings that decide a run's privacy, in one line for the hover text."""
    clip = "no clipping" if plan.max_grad_norm is None else f"C = {plan.max_grad_norm:g}"
    return (
        f"{clip} · σ = {plan.noise_multiplier:.4g} · B = {plan.batch_size} · "
        f"q = {plan.sample_rate:.4g} · δ = {plan.delta:g}"
    )


_ACCURACY = Panel(
    "accuracy",
    "Test accuracy",
    ("test_accuracy",),
    y_title="Test accuracy",
    percent=True,
    marks=True,
    help="Share of public test records that the released model classifies correctly, against the privacy it cost.",
)
_PERPLEXITY = Panel(
    "perplexity",
    "Test perplexity",
    ("test_perplexity",),
    y_title="Perplexity (lower is better)",
    log_y=True,
    help=f"{METRICS['test_perplexity'].help} Against the privacy that the model cost.",
)
_F1 = Panel("f1", "Test F1", ("test_f1",), y_title="F1 of the second class", percent=True, help=METRICS["test_f1"].help)

_EXPOSURE = Panel(
    "exposure",
    "Exposure",
    ("exposure_mean",),
    y_title="Bits (lower is better)",
    levels=(
        Level(EXPOSURE_CEILING, f"{EXPOSURE_CEILING:g} bits: likeliest of {SECRET_CODES:,} codes"),
        Level(EXPOSURE_CHANCE, f"{EXPOSURE_CHANCE:.2f} bits: nothing learnt", below=True),
    ),
    sparse=True,
    x="epoch",
    help=f"How far the planted secrets are exposed. {METRICS['exposure_max'].help}",
)
_RECITED = Panel(
    "recited",
    "Secrets recited",
    ("recited",),
    y_title="Secrets",
    sparse=True,
    x="epoch",
    help=METRICS["recited"].help,
)

#: How useful a model is, by the task that it is trained for.
_UTILITY: dict[str, Panel] = {"classify": _ACCURACY, "language": _PERPLEXITY}


def _by_topic(topics: Iterable[str]) -> list[Panel]:
    wanted = set(topics) or {"classify"}
    found = [replace(panel, level=True) for task, panel in _UTILITY.items() if task in wanted]
    return [*found, _EXPOSURE] if "secrets" in wanted else found


def lab_panels(topics: Iterable[str] = ()) -> tuple[Panel, ...]:
    """The Lab page: accuracy against ε, or perplexity where language is learnt.

    Args:
        topics: of the runs that are shown: ``classify``, ``language``, and ``secrets`` where some are planted; a chart for each,
            and accuracy for none.
    """
    return tuple(_by_topic(topics))


def compare_panels(topics: Iterable[str] = ()) -> tuple[Panel, ...]:
    """The Compare page: the chosen runs over each other, in a chart for each of their topics."""
    first, *others = _by_topic(topics)
    return replace(first, key="compare"), *others


def run_panels(
    plan: _Plan, task: str = "classify", two_classes: bool = False, secrets: bool = False
) -> tuple[Panel, ...]:
    """The Run page: every measured side of one run.

    Args:
        plan: the run's plan; C becomes a line through the gradient norms, B one through the drawn batch sizes.
        task: that the model is trained for, ``classify`` or ``language``.
        two_classes: also show F1.
        secrets: some are planted, so show what the model gives away of them.
    """
    bound = plan.max_grad_norm
    clipping = (Level(bound, f"C = {bound:g}"),) if bound else ()
    return (
        _UTILITY[task],
        *((_F1,) if two_classes else ()),
        *((replace(_EXPOSURE, metrics=("exposure_max", "exposure_mean")), _RECITED) if secrets else ()),
        Panel("loss", "Loss", ("test_loss", "train_loss"), y_title="Mean cross-entropy", help="Lower is better."),
        Panel(
            "norms",
            "Gradient norms before clipping",
            ("grad_norm_p90", "grad_norm_p50", "grad_norm_p10"),
            y_title="L2 norm",
            log_y=True,
            levels=clipping,
            help="Records above the line C are shortened to it; far below the line, the noise drowns them.",
        ),
        Panel(
            "clipped",
            "Clipped share",
            ("clipped_share",),
            y_title="Share of records",
            percent=True,
            help=METRICS["clipped_share"].help,
        ),
        Panel("snr", "Signal to noise", ("snr",), y_title="Ratio per step", log_y=True, help=METRICS["snr"].help),
        Panel(
            "phases",
            "Time per phase of a step",
            tuple(f"time_{phase}" for phase in PHASES),
            y_title="Seconds per step",
            stacked=True,
            help="Where a step's time goes, by the seven steps of the algorithm, encryption included.",
        ),
        Panel(
            "batches",
            "Realised batch size",
            ("batch_size",),
            y_title="Records",
            levels=(Level(float(plan.batch_size), f"expected B = {plan.batch_size:g}"),),
            help="Each record joins a batch by its own coin flip, so sizes vary around B.",
        ),
    )
