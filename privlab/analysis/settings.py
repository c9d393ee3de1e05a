"""Every declared setting by its dotted path, in words for people: label, bounds and value. Torch-free and without a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, get_args

from pydantic.fields import FieldInfo

from privlab.config import RunConfig
from privlab.config.knobs import Knob, bounds_of, choices_of, knob_of
from privlab.data.catalogue import DATASETS
from privlab.models.catalogue import MODELS

_SIDES = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}

#: Headings of the groups of settings.
SECTIONS: dict[str, str] = {
    "data": "Data",
    "model": "Model",
    "privacy": "Privacy",
    "training": "Training",
    "encryption": "Encryption",
    "performance": "Performance",
}


@dataclass(frozen=True)
class Setting:
    """One setting: where it is, and its declaration."""

    path: str
    knob: Knob
    info: FieldInfo

    @property
    def label(self) -> str:
        return f"{self.knob.label} {self.knob.symbol}".strip()

    @property
    def label_and_unit(self) -> str:
        return f"{self.label} ({self.knob.unit})" if self.knob.unit else self.label

    @property
    def is_integer(self) -> bool:
        return int in self._types

    @property
    def is_number(self) -> bool:
        return self.is_integer or float in self._types

    @property
    def _types(self) -> tuple[Any, ...]:
        return get_args(self.info.annotation) or (self.info.annotation,)

    @property
    def choices(self) -> dict[str, str]:
        """Allowed values with the words for each; empty for a number or free text."""
        if self.path == "data.dataset":
            return {key: facts.title for key, facts in DATASETS.items()}
        if self.path == "model.name":
            return {key: facts.title for key, facts in MODELS.items()}
        words = self.knob.labels or {}
        return {value: words.get(value, value) for value in choices_of(self.info)}

    @property
    def bounds(self) -> str:
        """The bounds in words, for example ``more than 0 and at most 1000``; empty without bounds."""
        return " and ".join(f"{_SIDES[side]} {_plain(value)}" for side, value in bounds_of(self.info).items())

    @property
    def help(self) -> str:
        """The declaration's sentence, and the bounds."""
        return f"{self.knob.help} Allowed: {self.bounds}." if self.bounds else self.knob.help

    def show(self, value: Any) -> str:
        """``value`` in words."""
        if value is None or value == "":
            return "–"
        return self.choices.get(value) or (_plain(value) if self.is_number else str(value))


def _plain(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _declared() -> dict[str, Setting]:
    found = {"name": Setting("name", knob_of(RunConfig, "name"), RunConfig.model_fields["name"])}
    for section in SECTIONS:
        group = RunConfig.model_fields[section].annotation
        for name, info in group.model_fields.items():
            found[f"{section}.{name}"] = Setting(f"{section}.{name}", knob_of(group, name), info)
    return found


#: Every setting that a person can choose, in the order of their declaration.
SETTINGS: dict[str, Setting] = _declared()


def applies(path: str, values: Mapping[str, Any]) -> bool:
    """Whether the other choices in ``values`` leave setting ``path`` something to say."""
    return all(
        any(fnmatchcase(str(values[other]), value) for other in others.split("|") for value in allowed)
        for others, allowed in (SETTINGS[path].knob.when or {}).items()
    )


def values_of(config: RunConfig) -> dict[str, Any]:
    """``config`` as one flat mapping from path to value, None where an option is not set."""
    found: dict[str, Any] = {"name": config.name}
    for path in SETTINGS:
        section, _, name = path.partition(".")
        if name:
            found[path] = getattr(getattr(config, section), name)
    return found


def differing(configs: list[RunConfig]) -> list[str]:
    """Paths of the settings in which ``configs`` are not all alike, the name left out."""
    flat = [values_of(config) for config in configs]
    return [path for path in SETTINGS if path != "name" and len({repr(each[path]) for each in flat}) > 1]
