"""A class session at work: joining, launching within the rules and the budget, and what came of it. Torch-free."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from privlab.classroom.lesson import OPEN, Lesson, guessed_accuracy, participant_name
from privlab.config import ConfigError, Problem, RunConfig, load_preset
from privlab.metrics import UTILITY
from privlab.preflight import missing_inputs, preflight
from privlab.runs import control
from privlab.runs.ledger import ledger_of
from privlab.runs.record import Run, Spent, Status
from privlab.runs.store import ClassRun, NameTaken, Participant, Store

#: Two launches of one participant at once must not both fit into what is left for one.
_launching = threading.Lock()


class ClassClosed(ValueError):
    """The teacher closed the session: its board stays, nothing more is launched."""

    def __init__(self) -> None:
        super().__init__("The session is closed: its board stays, and nothing more can be launched.")


@dataclass(frozen=True)
class Session:
    """A class session.

    Attributes:
        id: part of the link that participants get.
        key: the teacher's own; whoever has it may close the session.
    """

    id: str
    key: str
    lesson: Lesson
    created: float
    closed: float | None


def begin(store: Store, lesson: Lesson) -> Session:
    """Begin a session under these rules."""
    return _session(store.create_class(lesson.to_dict()))


def find(store: Store, class_id: str) -> Session:
    """Raises UnknownClass."""
    return _session(store.find_class(class_id))


def _session(row: Any) -> Session:
    return Session(row.id, row.key, Lesson.from_dict(row.lesson), row.created, row.closed)


def join(store: Store, session: Session, name: str) -> Participant:
    """Take part under a name.

    Raises:
        ConfigError: a name that is empty, too long or taken, or the session is full; beside ``name``.
        ClassClosed
    """
    if session.closed:
        raise ClassClosed
    name = participant_name(name, [who.name for who in store.participants(session.id)])
    try:
        return store.join_class(session.id, name)
    except NameTaken as taken:
        raise ConfigError.at("name", str(taken)) from None


def config_for(lesson: Lesson, participant: Participant, preset: str, changes: Mapping[str, Any]) -> RunConfig:
    """The settings of a participant's run.

    Args:
        preset: one that the lesson allows.
        changes: values of settings that the lesson leaves open, by path.

    Raises:
        ConfigError: another preset, a setting that is not open, or values that do not fit together.
    """
    if preset not in lesson.presets:
        raise ConfigError.at(
            "preset", f"preset={preset!r} is not one of this session: choose {', '.join(lesson.presets)}."
        )
    if shut := [path for path in changes if path not in lesson.open]:
        raise ConfigError.at(shut[0], f"{shut[0]} is fixed in this session.")
    config = load_preset(preset)
    settings = {path.replace(".", "__"): value for path, value in changes.items() if applies(config, path)}
    return config.replace(**settings, name=participant.name)


def applies(config: RunConfig, path: str) -> bool:
    """Whether open setting ``path`` has a meaning for a preset: ε where the preset aims at one, C where it clips."""
    if path == "privacy.target_epsilon":
        return config.privacy.target_epsilon is not None
    if path == "privacy.max_grad_norm":
        return config.privacy.clipping != "none"
    return path in OPEN


def spent(store: Store, runs: Sequence[Run]) -> float:
    """ε of publishing all that ``runs`` release, which are on one data set: those at work are counted to their planned end."""
    if not runs:
        return 0.0
    dataset = runs[0].config.data.dataset
    void = {each.run_id for each in store.spent(dataset) if each.void}
    counted = [
        Spent.of(run if run.status.is_over else replace(run, step=run.steps), void=run.id in void) for run in runs
    ]
    return ledger_of(dataset, [each for each in counted if each.step]).epsilon


def would_cost(store: Store, session: Session, participant: Participant, config: RunConfig) -> tuple[float, float]:
    """ε that the participant's runs on this data set cost so far, and with ``config`` together; inf without a guarantee.

    Raises:
        ConfigError: as :func:`privlab.preflight.preflight`.
    """
    own = [
        each.run
        for each in store.class_runs(session.id)
        if each.participant.id == participant.id and each.run.config.data.dataset == config.data.dataset
    ]
    plan = preflight(config).plan
    planned = Run("", "", Status.FINISHED, config, plan, created=math.inf, step=plan.steps)
    return spent(store, own), spent(store, [*own, planned])


def launch(
    store: Store,
    session: Session,
    participant: Participant,
    preset: str,
    changes: Mapping[str, Any],
    guess: float | None,
    *,
    launch_key: str,
) -> Run:
    """Launch a run within the session's rules. A second call with the same ``launch_key`` returns the first one's run.

    Args:
        guess: test accuracy that the participant expects, a share; needed where the lesson asks for it and the run classifies.

    Raises:
        ConfigError: with the path of what is refused: ``preset``, which may need records or weights that are not here, an open
            setting, ``guess``, or ``budget``.
        ClassClosed
        RunActionError, StoreError: as :func:`privlab.runs.control.launch`.
    """
    if find(store, session.id).closed:
        raise ClassClosed
    config = config_for(session.lesson, participant, preset, changes)
    if problems := missing_inputs(config.data.dataset, config.model.name):
        raise ConfigError([Problem("preset", problem.message) for problem in problems])
    guess = guessed_accuracy(guess) if session.lesson.guess and config.data.task == "classify" else None
    with _launching:
        _refuse_over_budget(store, session, participant, config)
        # First what was said, then the run: nobody guesses what they have seen.
        store.say_before_launch(launch_key, participant.id, guess)
        return control.launch(store, config, launch_key=launch_key, group=f"class-{session.id}")


def _refuse_over_budget(store: Store, session: Session, participant: Participant, config: RunConfig) -> None:
    budget = session.lesson.budget
    if budget is None:
        return
    before, after = would_cost(store, session, participant, config)
    if after <= budget:
        return
    what = (
        "has no guarantee (ε = ∞)"
        if math.isinf(after) and not math.isinf(before)
        else f"would bring you to ε = {after:.3g}"
    )
    raise ConfigError(
        [Problem("budget", f"This run {what}, and your budget is ε = {budget:g}; you have spent {before:.3g} of it.")]
    )


@dataclass(frozen=True)
class Standing:
    """How one participant stands.

    Attributes:
        runs: how many they launched.
        spent: the largest ε of their runs together on one data set, planned ends counted.
        best: best test accuracy of an ended run, a share, and its ε; None before one has ended.
        error: mean distance of their guesses from what was reached, a share; None before one can be told.
    """

    participant: Participant
    runs: int
    spent: float
    best: tuple[float, float] | None
    error: float | None


def standings(store: Store, people: Sequence[Participant], runs: Sequence[ClassRun]) -> list[Standing]:
    """How all stand, in the order in which they joined."""
    return [_standing(store, who, [each for each in runs if each.participant.id == who.id]) for who in people]


def _standing(store: Store, who: Participant, own: Sequence[ClassRun]) -> Standing:
    by_dataset: dict[str, list[Run]] = {}
    for each in own:
        by_dataset.setdefault(each.run.config.data.dataset, []).append(each.run)
    ended = [each for each in own if each.run.status.is_over and UTILITY["classify"].key in each.run.metrics]
    reached = [(each.run.metrics[UTILITY["classify"].key], each.run.epsilon or math.inf) for each in ended]
    errors = [
        abs(each.guess - value) for each, (value, _) in zip(ended, reached, strict=True) if each.guess is not None
    ]
    return Standing(
        who,
        len(own),
        max((spent(store, runs) for runs in by_dataset.values()), default=0.0),
        max(reached, default=None, key=lambda pair: pair[0]),
        sum(errors) / len(errors) if errors else None,
    )
