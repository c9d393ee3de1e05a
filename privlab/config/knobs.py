"""One declaration per setting: the form, the checks and the help text all read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Knob:
    """The parts of a setting's declaration that only a person needs.

    Attributes:
        label: name shown beside the widget.
        help: one sentence in plain words.
        symbol: the term's symbol in the literature (``C``, ``σ``, ``ε`` …), or empty.
        unit: unit of the value, or empty for a pure number.
        step: increment of the widget's arrows; None lets the widget choose.
        format: printf format of the widget, for example ``%.2g``.
        expert: folded away in the form.
        labels: text shown for each allowed choice.
        when: paths of other settings (``|`` between alternatives) and the values of each with which this one has something
            to say (``*`` in a value stands for anything); else it is not shown.
    """

    label: str
    help: str
    symbol: str = ""
    unit: str = ""
    step: float | None = None
    format: str | None = None
    expert: bool = False
    labels: dict[str, str] | None = None
    when: dict[str, tuple[str, ...]] | None = None


def knob(default: Any, *, ge=None, gt=None, le=None, lt=None, **about: Any) -> Any:
    """A pydantic field with its :class:`Knob`. Bounds are enforced by pydantic and shown by the form."""
    return Field(
        default,
        ge=ge,
        gt=gt,
        le=le,
        lt=lt,
        description=about["help"],
        json_schema_extra={"knob": Knob(**about).__dict__},
    )


def knob_of(model: type[BaseModel], name: str) -> Knob:
    """The declaration of field ``name`` of ``model``. Raises KeyError for an undeclared name."""
    return Knob(**model.model_fields[name].json_schema_extra["knob"])


def bounds_of(info: FieldInfo) -> dict[str, float]:
    """Bounds of a numeric field as ``{"ge": …, "gt": …, "le": …, "lt": …}``, absent ones left out."""
    found: dict[str, float] = {}
    for mark in info.metadata:
        for side in ("ge", "gt", "le", "lt"):
            value = getattr(mark, side, None)
            if value is not None:
                found[side] = value
    return found


def choices_of(info: FieldInfo) -> tuple[str, ...]:
    """Allowed values of a ``Literal`` field, empty for any other type."""
    return get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
