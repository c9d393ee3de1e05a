"""What every group of settings is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """Base of every group of settings: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def refusal(path: str, message: str) -> PydanticCustomError:
    """The error of a validator that refuses the setting at dotted ``path``; ``message`` names value and bound."""
    # Braces would be read as a format string by pydantic.
    return PydanticCustomError("privlab", "{message}", {"path": path, "message": message})
