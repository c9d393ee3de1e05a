"""What the arithmetic of comparing knows of a run: plain values, from the store, an import or a publication."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from privlab.analysis.settings import applies, values_of
from privlab.config import RunConfig
from privlab.data.catalogue import DATASETS
from privlab.metrics import METRICS, SUBSET
from privlab.models.catalogue import MODELS
from privlab.preflight import part_trained
from privlab.runs.record import Run

#: Where a result is from: trained here, read from a file of somebody else's, or printed in a publication.
Provenance = Literal["real", "imported", "reference"]

#: Settings that decide neither how a run ends nor what it promises: its name and seed, where and how fast it is computed, how
#: often it is looked at, and how its files are kept. 16-bit passes and the owners of a store do change the numbers and stay.
WITHOUT_EFFECT = frozenset(
    {
        "name",
        "training.seed",
        "training.curve_points",
        "performance.device",
        "performance.gradient_method",
        "performance.physical_batch_size",
        "encryption.key",
        "encryption.key_name",
        "encryption.server",
    }
)
#: Modes of encryption that leave every number of the training alone.
_FILES_ONLY = ("none", "sealed")


@dataclass(frozen=True)
class Promise:
    """What an ε is told about. Values of ε under different promises cannot be set beside each other.

    Attributes:
        delta: δ; None where it is not known.
        adjacency: neighbouring data sets, as in :class:`privlab.privacy.PrivacyPlan`.
        owners: data owners; with several, ε holds against everybody who is no owner.
        unit: whom it is about, a ``record`` or a ``user`` with all of their records.
    """

    delta: float | None = None
    adjacency: str = "add-or-remove-one"
    owners: int = 1
    unit: str = "record"

    def __str__(self) -> str:
        parts = [f"δ = {self.delta:g}" if self.delta is not None else "δ unknown"]
        who = "user" if self.unit == "user" else "record"
        parts += [f"one {who} replaced"] if self.adjacency == "replace-one" else ["for users"] if who == "user" else []
        parts += [f"{self.owners} owners"] if self.owners > 1 else []
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class Facts:
    """One run.

    Attributes:
        id: unique among what is compared.
        name: for people; may be empty.
        settings: by dotted path, as :func:`privlab.analysis.settings.values_of` gives them; fewer for publications.
        metrics: of the last point, by key of :data:`privlab.metrics.METRICS`.
        epsilon: spent at the last point; inf where no guarantee is claimed, NaN before the first point.
        promise: what ε is told about.
        noise_multiplier: σ of the first step, also where it was found for a target ε; None where not known.
        status: as :class:`privlab.runs.record.Status`.
        void: the mechanism was found not to be what the plan says; such a run proves nothing.
        seconds, created: training time, and Unix time of the launch.
        step, steps: done and planned.
        tags, notes: a person's own words.
        curve: arrays of one length by name, as :meth:`privlab.runs.store.Store.columns` gives them: ``epsilon`` (NaN where no
            guarantee is claimed) and metrics. May be empty.
        config: the settings whole, to launch more like it; None for publications.
    """

    id: str
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    epsilon: float = math.nan
    promise: Promise = Promise()
    noise_multiplier: float | None = None
    status: str = "finished"
    void: bool = False
    seconds: float = 0.0
    created: float = 0.0
    step: int = 0
    steps: int = 0
    tags: frozenset[str] = frozenset()
    notes: str = ""
    provenance: Provenance = "real"
    curve: Mapping[str, np.ndarray] = field(default_factory=dict)
    config: RunConfig | None = None

    @classmethod
    def of(
        cls,
        run: Run,
        *,
        void: bool = False,
        tags: Iterable[str] = (),
        notes: str = "",
        provenance: Provenance | None = None,
        curve: Mapping[str, np.ndarray] | None = None,
    ) -> Facts:
        """Facts of a stored run. ``void``: the run has an event of kind ``void``. ``provenance``: imported or trained here, as
        the run says, where it is not given. Without ``curve`` only its last point counts."""
        promised = run.plan.is_private and run.config.privacy.randomness != "reproducible" and not void
        spent = math.nan if run.step < 1 else math.inf
        if promised and run.epsilon is not None:
            spent = run.epsilon
        plan = run.plan
        return cls(
            run.id,
            run.name,
            values_of(run.config),
            run.metrics,
            spent,
            Promise(plan.delta, plan.adjacency, plan.owners, plan.unit),
            plan.noise_multiplier,
            run.status.value,
            void,
            run.seconds,
            run.created,
            run.step,
            run.steps,
            frozenset(tags),
            notes,
            provenance or ("imported" if run.is_imported else "real"),
            {} if curve is None else curve,
            run.config,
        )

    @property
    def called(self) -> str:
        return self.name or self.id

    @property
    def dataset(self) -> str:
        return self.settings.get("data.dataset", "")

    @property
    def model(self) -> str:
        return self.settings.get("model.name", "")

    @property
    def seed(self) -> int | None:
        return self.settings.get("training.seed")

    @property
    def has_guarantee(self) -> bool:
        """Whether a finite ε is claimed."""
        return math.isfinite(self.epsilon) and not self.void

    @property
    def test_records(self) -> int | None:
        """Test records that the last point was measured on: all at the end of a run, else the first 2,000. None: not known."""
        facts = DATASETS.get(self.dataset)
        if facts is None:
            return None
        return facts.test_records if self.step >= self.steps else min(SUBSET, facts.test_records)

    def setting(self, path: str) -> Any:
        """The value in force: σ also where it was found for a target ε; None where other choices leave it nothing to say."""
        if path == "privacy.noise_multiplier":
            return self.noise_multiplier
        if path == "privacy.max_grad_norm" and self.settings.get("privacy.clipping") == "none":
            return None
        return self.effective.get(path)

    def metric(self, key: str) -> float:
        """The metric at the last point; NaN where it was not measured. Raises KeyError for an undeclared one."""
        METRICS[key]
        return float(self.metrics.get(key, math.nan))

    @cached_property
    def effective(self) -> dict[str, Any]:
        """The settings that have something to say beside the others, with the part that trains by its own name."""
        known, model = dict(self.settings), MODELS.get(self.model)
        if "model.trains" in known and model:
            known["model.trains"] = part_trained(model.key, known["model.trains"])
        found = {path: value for path, value in known.items() if _applies(path, known)}
        if known.get("privacy.clipping") == "none":
            found.pop("privacy.max_grad_norm", None)
        return found

    @cached_property
    def outcome(self) -> tuple[tuple[str, str], ...]:
        """What decides how the run ends, without its seed: equal for runs that differ by chance alone.

        Left out are :data:`WITHOUT_EFFECT`, and encryption that touches files only.
        """
        found = {path: value for path, value in self.effective.items() if path not in WITHOUT_EFFECT}
        if found.get("encryption.mode") in _FILES_ONLY:
            found = {path: value for path, value in found.items() if not path.startswith("encryption.")}
        return tuple((path, repr(value)) for path, value in sorted(found.items()) if value is not None)


def _applies(path: str, values: Mapping[str, Any]) -> bool:
    try:
        return applies(path, values)
    except KeyError:
        # A publication says some settings only, and those have something to say.
        return True
