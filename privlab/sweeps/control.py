"""What a person may do to sweeps. Every refusal is a ConfigError or a SweepActionError in plain words."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from privlab.config import ConfigError, Problem
from privlab.encryption import SealError, check_key
from privlab.preflight import Preflight, missing_inputs, preflight
from privlab.runs.control import RunActionError
from privlab.runs.store import Store, SweepConflict, new_id
from privlab.runs.sweeprecord import Sweep, SweepState
from privlab.sweeps.results import spec_of
from privlab.sweeps.space import Values
from privlab.sweeps.spec import Budget, SweepSpec

_RUNNING, _PAUSED, _STOPPED, _FINISHED = SweepState


class SweepActionError(RunActionError):
    """The action makes no sense for the sweep as it is; the message says why."""


@dataclass(frozen=True)
class Candidate:
    """A combination before launch: with its plan, or with the reason why it cannot be launched."""

    values: Values
    checked: Preflight | None
    refused: str | None


def check_candidate(spec: SweepSpec, values: Values) -> Candidate:
    """What :func:`privlab.preflight.preflight` says of a combination, for its first seed."""
    try:
        return Candidate(values, preflight(spec.candidate(values, spec.base.training.seed)), None)
    except ConfigError as error:
        return Candidate(values, None, " ".join(problem.message for problem in error.problems))


def candidates(spec: SweepSpec) -> Iterator[Candidate]:
    """Every combination of a grid, checked. For other searches none is known before it is proposed."""
    if spec.method == "grid":
        for values in spec.candidates():
            yield check_candidate(spec, values)


def missing(spec: SweepSpec) -> list[Problem]:
    """What the sweep needs and this computer does not have: data sets, weights, keys."""
    datasets = _taken(spec, "data.dataset", spec.base.data.dataset)
    models = _taken(spec, "model.name", spec.base.model.name)
    # Each once, though a data set is asked for with every model.
    found = list(dict.fromkeys(each for pair in product(datasets, models) for each in missing_inputs(*pair)))
    try:
        check_key(spec.base.encryption)
    except SealError as error:
        found.append(Problem("encryption.key", str(error)))
    return found


def _taken(spec: SweepSpec, path: str, otherwise: str) -> tuple[str, ...]:
    return spec.space.axis(path).values if path in spec.space.paths else (otherwise,)


def create(store: Store, spec: SweepSpec, *, launch_key: str | None = None) -> Sweep:
    """Store a new sweep, which the app's conductor begins at once. A second call with the same ``launch_key`` returns the
    first call's sweep.

    With ``trials_drawn`` the number of trials is drawn here, by the operating system's randomness, from a geometric
    distribution of mean ``trials``.

    Raises:
        ConfigError: something that the sweep needs is not here; nothing is stored.
        StoreError
    """
    if problems := missing(spec):
        raise ConfigError(problems)
    drawn = _geometric(spec.trials) if spec.trials_drawn else None
    return store.create_sweep(new_id(), spec.name, spec.to_dict(), launch_key=launch_key, drawn=drawn)


def _geometric(mean: int) -> int:
    """1, 2, …: after each trial the next one comes with chance 1 − 1/mean. It must not follow from any seed."""
    number = 1
    while secrets.randbelow(mean):
        number += 1
    return number


def pause(store: Store, sweep_id: str) -> Sweep:
    """No new runs; those in the queue and training pause. Raises SweepActionError, UnknownSweep."""
    say = "Paused by a person."
    return _act(
        store,
        sweep_id,
        "paused",
        lambda: store.move_sweep(sweep_id, _PAUSED, expect=[_RUNNING], reason=say, settled=False),
    )


def resume(store: Store, sweep_id: str) -> Sweep:
    """Go on where it was. Raises SweepActionError, UnknownSweep."""
    return _act(
        store,
        sweep_id,
        "resumed",
        lambda: store.move_sweep(sweep_id, _RUNNING, expect=[_PAUSED, _STOPPED], settled=False),
    )


def stop(store: Store, sweep_id: str) -> Sweep:
    """No new runs; those in the queue and training stop. What was found stays. Raises SweepActionError, UnknownSweep."""
    say = "Stopped by a person."
    return _act(
        store,
        sweep_id,
        "stopped",
        lambda: store.move_sweep(sweep_id, _STOPPED, expect=[_RUNNING, _PAUSED], reason=say, settled=False),
    )


def extend(
    store: Store,
    sweep_id: str,
    *,
    trials: int = 0,
    seeds: int = 0,
    runs: int = 0,
    hours: float = 0.0,
    epsilon: float = 0.0,
) -> Sweep:
    """More of the same: ``trials`` more combinations (not of a grid, which has all), ``seeds`` more for each, and larger
    budgets by ``runs``, ``hours`` and ``epsilon``. Goes on at once.

    Raises SweepActionError, ConfigError, UnknownSweep.
    """
    sweep = store.sweep(sweep_id)
    given = {"trials": trials, "seeds": seeds, "runs": runs, "hours": hours, "epsilon": epsilon}
    for name, value in given.items():
        if value < 0:
            raise SweepActionError(f"{name}={value:g} is refused: a sweep is extended by at least 0.")
    if not any(given.values()):
        raise SweepActionError("Nothing to extend by: give trials, seeds or a larger budget.")
    if sweep.drawn is not None:
        raise SweepActionError(
            f"The number of trials of sweep {sweep_id} was drawn before the first one; making it longer would "
            "void what it is for."
        )
    longer = extension(spec_of(sweep), **given)
    return _act(
        store,
        sweep_id,
        "extended",
        lambda: store.move_sweep(
            sweep_id,
            _RUNNING,
            expect=[_RUNNING, _PAUSED, _STOPPED, _FINISHED],
            spec=longer.to_dict(),
            extended=1,
            settled=False,
        ),
    )


def extension(spec: SweepSpec, trials: int, seeds: int, runs: int, hours: float, epsilon: float) -> SweepSpec:
    """What :func:`extend` would make of ``spec``. Raises SweepActionError, ConfigError."""
    if trials and spec.trials is None:
        raise SweepActionError(f"trials={trials} is refused: a grid tries every combination; give it more seeds.")
    for name, more in (("runs", runs), ("hours", hours), ("epsilon", epsilon)):
        if more and getattr(spec.budget, name) is None:
            raise SweepActionError(f"{name}={more:g} is refused: the sweep has no budget of {name}.")
    budget = Budget(*(None if now is None else now + more for now, more in (
        (spec.budget.runs, runs), (spec.budget.hours, hours), (spec.budget.epsilon, epsilon))))  # fmt: skip
    return replace(spec, trials=spec.trials and spec.trials + trials, seeds=spec.seeds + seeds, budget=budget).replace()


def actions(sweep: Sweep) -> frozenset[str]:
    """Which of ``pause``, ``resume``, ``stop``, ``extend``, ``delete`` are open."""
    found = {
        _RUNNING: {"pause", "stop", "extend"},
        _PAUSED: {"resume", "stop", "extend"},
        _STOPPED: {"resume", "extend", "delete"},
        _FINISHED: {"extend", "delete"},
    }[sweep.state]
    return frozenset(found - {"extend"} if sweep.drawn is not None else found)


def delete(store: Store, sweep_id: str) -> None:
    """Forget a sweep that is over; its runs stay, and count in the ledger. Raises SweepActionError, UnknownSweep."""
    sweep = store.sweep(sweep_id)
    if "delete" not in actions(sweep) or not sweep.settled:
        raise SweepActionError(f"A {sweep.state} sweep cannot be deleted; stop it first.")
    store.delete_sweep(sweep_id)


def _act(store: Store, sweep_id: str, done: str, move: Callable[[], Sweep]) -> Sweep:
    try:
        return move()
    except SweepConflict:
        raise SweepActionError(f"A {store.sweep(sweep_id).state} sweep cannot be {done}.") from None
