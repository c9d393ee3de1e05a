"""What is wrong with a setting, said so that a form can show it beside the field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One refused setting.

    Attributes:
        path: dotted place of the setting, for example ``privacy.delta``.
        message: one sentence that names the value and the bound.
    """

    path: str
    message: str


class ConfigError(ValueError):
    """Settings that PrivLab refuses. Carries every problem found, not only the first."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{p.path}: {p.message}" for p in self.problems))

    @classmethod
    def at(cls, path: str, message: str) -> ConfigError:
        """The common case of a single problem."""
        return cls([Problem(path, message)])
