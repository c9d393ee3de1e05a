"""Published results, drawn as marks beside one's own runs. Copied from their sources, never measured here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """One published result.

    Attributes:
        epsilon, delta: the guarantee as its source states it.
        accuracy: share of test records classified correctly, 0…1.
        label: short name for the chart.
        source: where it was published.
        note: what to know when comparing; may be empty.
    """

    epsilon: float
    accuracy: float
    delta: float
    label: str
    source: str
    note: str = ""


_DELTA = 1e-5
_OPACUS = "Opacus, README of the MNIST example"
_TRAMER = "Tramèr and Boneh 2021, “Differentially Private Learning Needs Better Features (or Much More Data)”"
_PAPERNOT = "Papernot et al. 2021, “Tempered Sigmoid Activations for Deep Learning with Differential Privacy”"
_DE = "De et al. 2022, “Unlocking High-Accuracy Differentially Private Image Classification through Scale”"
_TANG = "Tang et al. 2023, “Differentially Private Image Classification by Learning Priors from Random Processes”"
_REPLICATION = "independent replication, “R+R”, ACSAC 2024"
_SHUFFLED = "Batches were shuffled but accounted as Poisson draws."

REFERENCES: dict[str, tuple[Reference, ...]] = {
    "mnist": (
        Reference(1.16, 0.9463, _DELTA, "CNN (Opacus)", _OPACUS),
        Reference(2.91, 0.9678, _DELTA, "CNN (Opacus)", _OPACUS),
        Reference(6.86, 0.9709, _DELTA, "CNN (Opacus)", _OPACUS),
        Reference(3.0, 0.981, _DELTA, "CNN (Tramèr & Boneh)", _TRAMER, _SHUFFLED),
        Reference(3.0, 0.987, _DELTA, "ScatterNet + linear (Tramèr & Boneh)", _TRAMER, _SHUFFLED),
    ),
    "fashion-mnist": (
        Reference(2.7, 0.861, _DELTA, "Tempered sigmoid CNN (Papernot et al.)", _PAPERNOT),
        Reference(3.0, 0.860, _DELTA, "CNN (Tramèr & Boneh)", _TRAMER, _SHUFFLED),
        Reference(3.0, 0.897, _DELTA, "ScatterNet + linear (Tramèr & Boneh)", _TRAMER, _SHUFFLED),
        Reference(3.0, 0.890, _DELTA, "ScatterNet + CNN (Tramèr & Boneh)", _TRAMER, _SHUFFLED),
    ),
    "cifar10": (
        Reference(3.0, 0.693, _DELTA, "ScatterNet + CNN (Tramèr & Boneh)", _TRAMER, _SHUFFLED),
        Reference(2.0, 0.6696, _DELTA, "ScatterNet + CNN (replicated)", _REPLICATION),
        Reference(4.0, 0.6974, _DELTA, "ScatterNet + CNN (replicated)", _REPLICATION),
        Reference(8.0, 0.814, _DELTA, "Wide ResNet (De et al.)", _DE, "Much more computation than a laptop has."),
        Reference(8.0, 0.7874, _DELTA, "Wide ResNet (replicated)", _REPLICATION, "Replicates De et al. 2022."),
        Reference(1.0, 0.723, _DELTA, "Random-process priors (Tang et al.)", _TANG),
        Reference(
            1.0, 0.7248, _DELTA, "Random-process priors (replicated)", _REPLICATION, "Replicates Tang et al. 2023."
        ),
    ),
    "movie-sentiment": (
        Reference(
            3.0,
            0.939,
            1 / (2 * 67_349),
            "SST-2, RoBERTa-large (Bu et al.)",
            "fastDP, README (Bu et al. 2022, “Automatic clipping”)",
            "Sentences of the same reviews, its own split; 355 million parameters. δ, which the README leaves out, is taken as 1/(2N).",
        ),
    ),
}


def references(dataset_key: str) -> tuple[Reference, ...]:
    """Published results on exactly this data set; empty where none is known (a subset has none of its own)."""
    return REFERENCES.get(dataset_key, ())
