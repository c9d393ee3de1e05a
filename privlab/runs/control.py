"""What a person may do to runs. Every refusal is a :class:`RunActionError` (or ConfigError) in plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from privlab.config import ConfigError, RunConfig
from privlab.encryption import SealError, check_key
from privlab.preflight import Preflight, preflight
from privlab.privacy import MOST_NOISE
from privlab.runs import passphrases
from privlab.runs.record import Run, Status
from privlab.runs.store import StatusConflict, Store, new_id

#: The privacy levels of one race: final ε, None for training without privacy.
LEVELS: tuple[float | None, ...] = (None, 8.0, 3.0, 1.0)

_ALLOWED: dict[Status, frozenset[str]] = {
    Status.QUEUED: frozenset({"pause", "stop"}),
    Status.STARTING: frozenset({"pause", "stop"}),
    Status.RUNNING: frozenset({"pause", "stop"}),
    Status.PAUSED: frozenset({"resume", "stop", "extend", "raise_noise"}),
    Status.STOPPED: frozenset({"resume", "extend", "raise_noise"}),
    Status.FINISHED: frozenset({"extend", "raise_noise"}),
    Status.FAILED: frozenset({"resume", "extend"}),
}
_PAST = {
    "pause": "paused",
    "resume": "resumed",
    "stop": "stopped",
    "extend": "extended",
    "raise_noise": "given more noise",
}


class RunActionError(ValueError):
    """The action makes no sense for the run as it is; the message says why."""


def actions(run: Run) -> frozenset[str]:
    """Which of ``pause``, ``resume``, ``stop``, ``extend``, ``raise_noise``, ``clone``, ``delete``, ``undelete`` are open
    for ``run``."""
    if run.deleted is not None:
        return frozenset({"undelete", "clone"})
    if run.is_imported:
        # A bundle holds released weights at most, and none of the state that training goes on from.
        return frozenset({"clone", "delete"})
    allowed = set(_ALLOWED[run.status]) | {"clone", "delete"}
    if not run.plan.is_private or not run.step or run.step >= (run.plan.planned_steps or run.steps):
        allowed.discard("raise_noise")
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
        RunActionError: a passphrase is needed and was not given, or the key that the settings name is not there.
        StoreError: the store cannot hold it.
    """
    plan = preflight(config).plan
    _check_key(config, passphrase)
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
        privacy |= {"clipping": "none", "noise_multiplier": 0.0, "bands": 1}
    else:
        clipping = config.privacy.clipping
        privacy |= {"clipping": "flat" if clipping == "none" else clipping, "target_epsilon": epsilon}
        privacy.pop("sampling", None)
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
        _check_key(run.config, passphrase)
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
        _check_key(run.config, passphrase)
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
    for schedule, what in ((run.plan.noise_schedule, "noise"), (run.plan.clip_schedule, "clip")):
        if schedule.is_stretched:
            raise RunActionError(
                f"The {what} schedule of run {run.id} is stretched over its {run.plan.planned_steps:,} steps; a longer run "
                "would have had other values in the steps already done. Clone it instead."
            )
    total = run.config.training.epochs + epochs
    longer = preflight(run.config.replace(training__epochs=total, privacy__noise_multiplier=run.plan.noise_multiplier))
    if longer.plan.records != run.plan.records:
        raise RunActionError(
            f"Run {run.id} was planned for {run.plan.records} records and the data set now has {longer.plan.records}: "
            "extending it would change the guarantee. Clone it instead."
        )
    if longer.plan.steps <= run.plan.steps:
        raise RunActionError(
            f"Run {run.id} ends at its limit of ε={run.plan.epsilon_limit:g}, however many epochs it has; more noise lets it go on."
        )
    return longer


def raise_noise(store: Store, run_id: str, noise_multiplier: float, *, passphrase: str | None = None) -> Run:
    """Go on with more noise from the next step, so that a budget lasts longer; ε counts every step with its own σ.

    Raises RunActionError, ConfigError, UnknownRun.
    """

    def act(run: Run) -> Run:
        _check_key(run.config, passphrase)
        noisier = with_more_noise(run, noise_multiplier)
        say = (
            f"σ raised from {run.plan.noise_multiplier_at(run.step):.5g} to {noise_multiplier:.5g} from step {run.step + 1} on; "
            f"{noisier.plan.steps:,} steps."
        )
        return _queue(store, run, passphrase, "noise-raised", say, config=noisier.config, plan=noisier.plan)

    return _act(store, run_id, "raise_noise", act)


def with_more_noise(run: Run, noise_multiplier: float) -> Preflight:
    """What :func:`raise_noise` would make of ``run``. Raises RunActionError, ConfigError."""
    plan = run.plan
    present = plan.noise_multiplier_at(max(1, run.step))
    if plan.noise_schedule.is_stretched or plan.bands > 1:
        what = "correlated" if plan.bands > 1 else f"on a {plan.noise_schedule.kind} schedule"
        raise RunActionError(f"The noise of run {run.id} is {what} and cannot be changed on the way. Clone it instead.")
    if not present < noise_multiplier <= MOST_NOISE:
        raise RunActionError(
            f"noise_multiplier={noise_multiplier:g} is refused: it must be above the present σ={present:.5g} and at most "
            f"{MOST_NOISE:g}."
        )
    marks = [mark for mark in plan.noise_schedule.stretches(run.steps) if mark[0] <= run.step]
    marks.append((run.step + 1, noise_multiplier / plan.noise_multiplier))
    noisier = preflight(
        run.config.replace(
            privacy__noise_multiplier=plan.noise_multiplier,
            privacy__noise_schedule="custom",
            privacy__noise_schedule_custom=", ".join(f"{step}:{factor!r}" for step, factor in marks),
        )
    )
    if noisier.plan.steps <= run.step:
        raise RunActionError(
            f"With noise_multiplier={noise_multiplier:g} the next step would still pass ε={plan.epsilon_limit:g}; "
            "choose more noise."
        )
    return noisier


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


def _check_key(config: RunConfig, passphrase: str | None) -> None:
    try:
        check_key(config.encryption)
    except SealError as error:
        raise RunActionError(str(error)) from None
    if config.encryption.needs_passphrase and not passphrase:
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
    if run.is_imported:
        return (
            f"Run {run.id} was imported and cannot be {_PAST[action]}: a bundle holds nothing that training could go on from. "
            "Clone it to train it here."
        )
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
    "raise_noise",
    "resume",
    "stop",
    "undelete",
    "with_more_noise",
]
