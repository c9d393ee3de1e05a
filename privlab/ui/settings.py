"""Every declared setting as the form offers it beside the other choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privlab.analysis.settings import SECTIONS, SETTINGS, Setting, applies, differing, values_of
from privlab.data.own import is_own, title
from privlab.models.catalogue import MODELS

__all__ = ["SECTIONS", "SETTINGS", "Setting", "applies", "differing", "offered", "usual_part", "values_of"]


def offered(path: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Allowed values of ``path`` beside the other choices, with the words for each: only parts that the model can train."""
    choices, model = SETTINGS[path].choices, MODELS.get(values["model.name"])
    if path == "model.name" and is_own(chosen := values[path]) and chosen not in choices:
        # Of settings from elsewhere: the model is missed in words, and not silently another one.
        return choices | {chosen: f"{title(chosen)} (not on this computer)"}
    if path != "model.trains" or model is None:
        return choices
    return {key: choices[key] for key in ("auto", *model.trains)}


def usual_part(values: Mapping[str, Any]) -> str | None:
    """Which part of the chosen model trains as usual, in words; None where another choice is made."""
    model = MODELS.get(values["model.name"])
    if model is None or values["model.trains"] != "auto":
        return None
    return SETTINGS["model.trains"].choices[model.trains[0]]
