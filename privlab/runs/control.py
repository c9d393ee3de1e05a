"""What a person may do to runs. Every refusal is a :class:`RunActionError` (or ConfigError) in plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from privlab.config import ConfigError, RunConfig
from privlab.preflight import Preflight, preflight
from privlab.runs import passphrases
from privlab.runs.record import Run, Status
from privlab.runs.store import StatusConflict, Store, new_id

#: The privacy levels of one race: final ε, None for training without privacy.
LEVELS: tuple[float | None, ...] = (None, 8.0, 3.0, 1.0)

_ALLOWED: dict[Status, frozenset[str]] = {
    Status.QUEUED: frozenset({"pause", "stop"}),
    Status.STARTING: frozenset({"pause", "stop"}),
    Status.RUNNING: frozenset({"pause", "stop"}),
    Status.PAUSED: frozenset({"resume", "stop", "extend"}),
    Status.STOPPED: frozenset({"resume", "extend"}),
    Status.FINISHED: frozenset({"extend"}),
    Status.FAILED: frozenset({"resume", "extend"}),
}
_PAST = {"pause": "paused", "resume": "resumed", "stop": "stopped", "extend": "extended"}


class RunActionError(ValueError):
    """The action makes no sense for the run as it is; the message says why."""


def actions(run: Run) -> frozenset[str]:
    """Which of ``pause``, ``resume``, ``stop``, ``extend``, ``clone``, ``delete``, ``undelete`` are open for ``run``."""
    if run.deleted is not None:
        return frozenset({"undelete", "clone"})
    allowed = set(_ALLOWED[run.status]) | {"clone", "delete"}
    if run.status.is_active and run.requested:
        allowed -= {"pause"} if run.requested == "pause" else {"pause", "stop"}
        if run.requested == "pause":
            allowed.add("resume")
    return frozenset(allowed)


def launch(
    store: Store,
    config: RunConfig,
    *,
    launch_key: str | None = None,
    group: str | None = None,
    passphrase: str | None = None,
) -> Run:
    """Queue a new run. A second call with the same ``launch_key`` (a double click) returns the first call's run.

    Raises:
        ConfigError: settings that :func:`preflight` refuses; nothing is stored.
        RunActionError: a passphrase is needed and was not given.
        StoreError: the store cannot hold it.
    """
    plan = preflight(config).plan
    _check_passphrase(config, passphrase)
    run_id = new_id()
    # Kept before the run is visible: the dispatcher may take it from the queue at once.
    if passphrase:
        passphrases.keep(run_id, passphrase)
    try:
        run = store.create(config, plan, launch_key=launch_key, group=group, run_id=run_id)
    except BaseException:
        passphrases.forget(run_id)
        raise
    if run.id != run_id:
        passphrases.forget(run_id)
    return run


def launch_levels(
    store: Store,
    config: RunConfig,
    *,
    levels: Sequence[float | None] = LEVELS,
    launch_key: str | None = None,
    passphrase: str | None = None,
) -> list[Run]:
    """Queue the same settings at several final ε (None: without privacy), as one group. All are checked before any is stored.

    Raises as :func:`launch`.
    """
    configs = [at_level(config, level) for level in levels]
    for each in configs:
        preflight(each)
    group = launch_key or new_id()
    return [
        launch(store, each, launch_key=f"{group}:{place}", group=group, passphrase=passphrase)
        for place, each in enumerate(configs)
    ]


def at_level(config: RunConfig, epsilon: float | None) -> RunConfig:
    """``config`` aimed at a final ``epsilon``; None turns clipping and noise off."""
    label = "ε = ∞" if epsilon is None else f"ε = {epsilon:g}"
    name = f"{config.name} · {label}" if config.name else label
    raw = config.to_dict()
    privacy = {k: v for k, v in raw["privacy"].items() if k not in ("clipping", "noise_multiplier", "target_epsilon")}
    if epsilon is None:
        privacy |= {"clipping": "none", "noise_multiplier": 0.0}
    else:
        privacy |= {"clipping": "flat", "target_epsilon": epsilon}
    return RunConfig.from_dict(raw | {"privacy": privacy, "name": name})


def pause(store: Store, run_id: str) -> Run:
    """Pause at the end of the present logical batch; a queued run pauses at once. Raises RunActionError, UnknownRun."""

    def act(run: Run) -> Run:
        if run.status is Status.QUEUED:
            return store.move(
                run_id, Status.PAUSED, expect=[Status.QUEUED], reason="person", say="Paused in the queue."
            )
        return store.request(run_id, "pause")

    return _act(store, run_id, "pause", act)


def resume(store: Store, run_id: str, *, passphrase: str | None = None) -> Run:
    """Queue a paused, stopped or failed run again, to go on from its last checkpoint with the same ε.

    A pause that was asked for and has not happened yet is taken back. Raises RunActionError, UnknownRun.
    """

    def act(run: Run) -> Run:
        if run.status.is_active:
            return store.request(run_id, None)
        _check_passphrase(run.config, passphrase)
        return _queue(store, run, passphrase, "resumed", f"Resumed; goes on from step {run.step}.")

    return _act(store, run_id, "resume", act)


def stop(store: Store, run_id: str) -> Run:
    """End at the end of the present logical batch; a queued or paused run ends at once. Raises RunActionError, UnknownRun."""

    def act(run: Run) -> Run:
        if run.status.is_active:
            return store.request(run_id, "stop")
        passphrases.forget(run_id)
        return store.move(run_id, Status.STOPPED, expect=[run.status], say=f"Stopped by a person at step {run.step}.")

    return _act(store, run_id, "stop", act)


def extend(store: Store, run_id: str, epochs: int, *, passphrase: str | None = None) -> Run:
    """Train ``epochs`` more with the noise of the plan, so that every ε already shown stays true and the final one grows.

    A run with a target ε keeps its σ and gives up the target. Raises RunActionError, ConfigError, UnknownRun.
    """

    def act(run: Run) -> Run:
        _check_passphrase(run.config, passphrase)
        longer = extension(run, epochs)
        say = (
            f"Extended by {epochs} epochs to {longer.config.training.epochs} ({longer.plan.steps} steps) "
            f"with the same σ = {longer.plan.noise_multiplier:g}."
        )
        return _queue(store, run, passphrase, "extended", say, config=longer.config, plan=longer.plan)

    return _act(store, run_id, "extend", act)


def extension(run: Run, epochs: int) -> Preflight:
    """What :func:`extend` by ``epochs`` would make of ``run``. Raises RunActionError, ConfigError."""
    if epochs < 1:
        raise RunActionError(f"epochs={epochs} is refused: a run is extended by at least 1 epoch.")
    total = run.config.training.epochs + epochs
    longer = preflight(run.config.replace(training__epochs=total, privacy__noise_multiplier=run.plan.noise_multiplier))
    if longer.plan.records != run.plan.records:
        raise RunActionError(
            f"Run {run.id} was planned for {run.plan.records} records and the data set now has {longer.plan.records}: "
            "extending it would change the guarantee. Clone it instead."
        )
    return longer


def clone_config(run: Run) -> RunConfig:
    """The settings of ``run`` for a new one, named as a copy."""
    return run.config.replace(name=f"{run.name} (copy)" if run.name else "")


def delete(store: Store, run_id: str) -> Run:
    """Hide a run (see :func:`undelete`); one that trains is stopped. Raises UnknownRun."""
    run = store.get(run_id)
    if "stop" in actions(run) and run.status is not Status.PAUSED:
        # Refused only if it ended in this very moment, which is what was wanted.
        with suppress(RunActionError):
            stop(store, run_id)
    return store.delete(run_id)


def undelete(store: Store, run_id: str) -> Run:
    """Bring a deleted run back. Raises UnknownRun when it is gone for good."""
    return store.undelete(run_id)


def _queue(store: Store, run: Run, passphrase: str | None, kind: str, say: str, **changes: Any) -> Run:
    if passphrase:
        passphrases.keep(run.id, passphrase)
    try:
        return store.move(
            run.id, Status.QUEUED, expect=[run.status], attempt=run.attempt, kind=kind, say=say, **changes
        )
    except StatusConflict:
        passphrases.forget(run.id)
        raise


def _check_passphrase(config: RunConfig, passphrase: str | None) -> None:
    sealed = config.encryption.mode == "sealed" and config.encryption.key == "passphrase"
    if sealed and not passphrase:
        raise RunActionError("This run is sealed with a passphrase, which is never stored: enter it to start the run.")


def _act(store: Store, run_id: str, action: str, act: Callable[[Run], Run]) -> Run:
    """Do ``act`` if the run's state allows it; look again when the state changed in between."""
    for _ in range(5):
        run = store.get(run_id)
        if action not in actions(run):
            raise RunActionError(_refusal(run, action))
        try:
            return act(run)
        except StatusConflict:
            continue
    raise RunActionError(f"Run {run_id} keeps changing its state; try again.")


def _refusal(run: Run, action: str) -> str:
    if run.deleted is not None:
        return f"Run {run.id} is deleted: bring it back first."
    if run.status.is_active and run.requested:
        return f"Run {run.id} was already asked to {run.requested}; it does so after the present batch."
    if run.status.is_active:
        return f"A {run.status} run cannot be {_PAST[action]}; pause or stop it first."
    hint = " Extend it to train longer." if action == "resume" and run.status is Status.FINISHED else ""
    return f"A {run.status} run cannot be {_PAST[action]}.{hint}"


__all__ = [
    "LEVELS",
    "ConfigError",
    "RunActionError",
    "actions",
    "at_level",
    "clone_config",
    "delete",
    "extend",
    "extension",
    "launch",
    "launch_levels",
    "pause",
    "resume",
    "stop",
    "undelete",
]
