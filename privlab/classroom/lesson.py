"""What a teacher decides about a class session, who takes part, and what each guessed. Plain data, checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from privlab.config import ConfigError, Problem
from privlab.config.presets import PRESETS

#: Longest title and name, characters.
LONGEST = 60
#: Most people in one session: more curves than a chart can tell apart would come of more.
MOST_PEOPLE = 60
MOST_BUDGET = 100.0
#: Settings that a teacher may leave open, with what they are in a sentence for participants.
OPEN: dict[str, str] = {
    "privacy.target_epsilon": "the privacy budget of a run, ε",
    "privacy.max_grad_norm": "the clipping bound, C",
    "training.batch_size": "the expected batch size, B",
    "training.epochs": "the epochs",
    "training.learning_rate": "the learning rate",
}


@dataclass(frozen=True)
class Lesson:
    """The rules of a class session.

    Attributes:
        title: for people.
        presets: keys of the presets that may be launched; at least one.
        open: paths of the settings that participants may change; all others stay as the preset says.
        budget: ε that all runs of one participant on one data set may cost together; None for no limit.
        guess: whether a participant says before each launch what accuracy the run will reach.
    """

    title: str
    presets: tuple[str, ...]
    open: tuple[str, ...] = ("privacy.target_epsilon", "privacy.max_grad_norm")
    budget: float | None = None
    guess: bool = True

    def __post_init__(self) -> None:
        problems = []
        title = self.title.strip()
        if not 1 <= len(title) <= LONGEST:
            problems.append(Problem("title", f"The title has {len(title)} characters; it needs 1 to {LONGEST}."))
        if not self.presets:
            problems.append(Problem("presets", "Choose at least one preset that participants may launch."))
        if unknown := [key for key in self.presets if key not in PRESETS]:
            problems.append(Problem("presets", f"preset={unknown[0]!r} is unknown; choose among {', '.join(PRESETS)}."))
        if unknown := [path for path in self.open if path not in OPEN]:
            problems.append(Problem("open", f"{unknown[0]} cannot be left open; choose among {', '.join(OPEN)}."))
        if self.budget is not None and not (math.isfinite(self.budget) and 0 < self.budget <= MOST_BUDGET):
            problems.append(
                Problem("budget", f"budget={self.budget:g} is refused: it must be above 0 and at most {MOST_BUDGET:g}.")
            )
        if problems:
            raise ConfigError(problems)
        object.__setattr__(self, "title", title)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "title": self.title,
            "presets": list(self.presets),
            "open": list(self.open),
            "budget": self.budget,
            "guess": self.guess,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Lesson:
        """The lesson that :meth:`to_dict` wrote. Raises ConfigError."""
        return cls(raw["title"], tuple(raw["presets"]), tuple(raw["open"]), raw["budget"], raw["guess"])


def participant_name(name: str, taken: Sequence[str]) -> str:
    """``name`` as it will be shown.

    Raises:
        ConfigError: empty, too long, or another participant has it.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= LONGEST:
        raise ConfigError.at("name", f"The name has {len(name)} characters; it needs 1 to {LONGEST}.")
    if name.casefold() in {other.casefold() for other in taken}:
        raise ConfigError.at("name", f"Somebody here is called {name} already; add a letter.")
    if len(taken) >= MOST_PEOPLE:
        raise ConfigError.at("name", f"The session is full: {MOST_PEOPLE} people take part.")
    return name


def guessed_accuracy(guess: float | None) -> float:
    """A guess as a share.

    Raises:
        ConfigError: missing, or no share of 0 to 1.
    """
    if guess is None or not 0 <= guess <= 1:
        said = "empty" if guess is None else f"{100 * guess:g} %"
        raise ConfigError.at("guess", f"The guess is {said}; say a test accuracy from 0 to 100 %.")
    return guess
