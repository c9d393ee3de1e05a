"""Named starting points, one TOML file each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from privlab.config.problems import ConfigError
from privlab.config.run import RunConfig


@dataclass(frozen=True)
class Preset:
    """A named set of settings. ``title`` and ``blurb`` are what its card says."""

    key: str
    title: str
    blurb: str
    config: RunConfig


#: Order of the cards.
_ORDER = (
    "digits",
    "no-privacy",
    "clip-only",
    "weak",
    "medium",
    "strong",
    "fashion-mnist",
    "fashion-mnist-cnn",
    "spam-bert",
    "spam-minilm",
    "memorise",
    "encrypted",
)


@cache
def _read(key: str) -> Preset:
    raw = tomllib.loads((resources.files(__package__) / "presets" / f"{key}.toml").read_text("utf-8"))
    card = raw.pop("card")
    return Preset(key, card["title"], card["blurb"], RunConfig.from_dict(raw))


PRESETS: dict[str, Preset] = {key: _read(key) for key in _ORDER}


def preset_names() -> tuple[str, ...]:
    return _ORDER


def load_preset(key: str) -> RunConfig:
    """Settings of preset ``key``. Raises ConfigError that lists the known names."""
    if key not in PRESETS:
        raise ConfigError.at("preset", f"preset={key!r} is unknown; choose one of {', '.join(_ORDER)}.")
    return PRESETS[key].config
