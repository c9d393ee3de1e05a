"""What every group of settings is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from privlab.config.problems import ConfigError, Problem


class Section(BaseModel):
    """Base of every group of settings: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Build from nested plain values.

        Raises:
            ConfigError: with one :class:`Problem` for each refused value, unknown keys included.
        """
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise ConfigError(_problems(error)) from None


def refusal(path: str, message: str) -> PydanticCustomError:
    """The error of a validator that refuses the setting at dotted ``path``; ``message`` names value and bound."""
    # Braces would be read as a format string by pydantic.
    return PydanticCustomError("privlab", "{message}", {"path": path, "message": message})


def _problems(error: ValidationError) -> list[Problem]:
    """Translate pydantic's report into paths and sentences that name value and bound."""
    found = []
    for item in error.errors():
        context = item.get("ctx", {})
        path = ".".join(str(part) for part in item["loc"]) or "settings"
        if item["type"] == "privlab":
            found.append(Problem(context["path"], context["message"]))
            continue
        leaf = path.rsplit(".", 1)[-1]
        if item["type"] == "extra_forbidden":
            message = f"unknown setting {leaf}={item['input']!r}."
        elif item["type"] == "missing":
            message = f"{leaf} is missing."
        else:
            message = f"{leaf}={item['input']!r} is refused: {item['msg'][0].lower()}{item['msg'][1:]}."
        found.append(Problem(path, message))
    return found
