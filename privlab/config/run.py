"""The settings of a run: frozen, versioned, and the same in a form, a file and the store."""

from __future__ import annotations

import json
import tomllib
from typing import Any, Literal

import tomli_w

from privlab.config.encryption import EncryptionConfig
from privlab.config.knobs import knob
from privlab.config.privacy import PrivacyConfig
from privlab.config.problems import ConfigError
from privlab.config.section import Section
from privlab.config.sections import (
    DataConfig,
    ModelConfig,
    PerformanceConfig,
    TrainingConfig,
)

SCHEMA_VERSION = 1


class RunConfig(Section):
    """All settings of one run. Round-trips through JSON and TOML without loss."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = knob("", label="Name", help="A name for the run, to find it again; may be empty.")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    privacy: PrivacyConfig
    training: TrainingConfig = TrainingConfig()
    encryption: EncryptionConfig = EncryptionConfig()
    performance: PerformanceConfig = PerformanceConfig()

    @classmethod
    def from_toml(cls, text: str) -> RunConfig:
        """Build from TOML text. Raises ConfigError, also for text that is not TOML."""
        try:
            raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError.at("file", f"not valid TOML: {error}") from None
        return cls.from_dict(raw)

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """Build from JSON text. Raises ConfigError, also for text that is not JSON."""
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError.at("file", f"not valid JSON: {error}") from None
        return cls.from_dict(raw)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values; unset options are left out."""
        return self.model_dump(exclude_none=True)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def to_toml(self) -> str:
        return tomli_w.dumps(self.to_dict())

    def replace(self, **settings: Any) -> RunConfig:
        """A changed copy. Keys are dotted paths with ``__`` for the dot: ``replace(privacy__delta=1e-6)``.

        Raises ConfigError if the changed settings do not fit together.
        """
        raw = self.to_dict()
        for path, value in settings.items():
            set_path(raw, path.replace("__", "."), value)
        return RunConfig.from_dict(raw)


def set_path(raw: dict[str, Any], path: str, value: Any) -> None:
    """Set dotted ``path`` in nested ``raw``; None removes it. σ and ε displace each other, as a person expects.

    Raises ConfigError if the path runs through a value that is not a group.
    """
    *groups, leaf = path.split(".")
    place = raw
    for group in groups:
        place = place.setdefault(group, {})
        if not isinstance(place, dict):
            raise ConfigError.at(path, f"{group} is a single setting, not a group of settings.")
    rivals = {"noise_multiplier": "target_epsilon", "target_epsilon": "noise_multiplier"}
    if value is None:
        place.pop(leaf, None)
    else:
        place[leaf] = value
        if groups == ["privacy"] and leaf in rivals:
            place.pop(rivals[leaf], None)
