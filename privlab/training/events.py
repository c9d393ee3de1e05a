"""What a training says besides its points. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["started", "info", "warning", "paused", "stopped", "finished"]


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        kind: ``started`` just before the first step; ``paused``, ``stopped`` or ``finished`` last, once.
        message: one sentence in plain words.
        data: plain values for programs.
    """

    kind: Kind
    message: str
    data: dict[str, Any] = field(default_factory=dict)
