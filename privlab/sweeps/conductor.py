"""Drives sweeps: launches their runs one after the other, ends hopeless ones, and notices when all is done.

It runs beside the dispatcher, in the one process of a ``PRIVLAB_HOME`` that starts runs. Nothing that matters is kept here:
every look begins from the store, each write can be done twice, and a run is launched under a key of its sweep, trial and
seed. So this process may be killed at any moment, and the next one neither loses nor doubles a run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from privlab.config import ConfigError
from privlab.preflight import Preflight, preflight
from privlab.runs import control as runs_control
from privlab.runs.control import RunActionError
from privlab.runs.place import place_id
from privlab.runs.record import Reason, Run, Status
from privlab.runs.store import Store, StoreError, SweepConflict
from privlab.runs.sweeprecord import Sweep, SweepState
from privlab.sweeps.control import check_candidate
from privlab.sweeps.cost import spent_if_launched
from privlab.sweeps.pruning import hopeless
from privlab.sweeps.results import Result, Row, Standing, standing
from privlab.sweeps.search import propose

log = logging.getLogger(__name__)

#: How often the store's change counter is read, and how often everything is looked at even if nothing changed.
TICK_SECONDS = 0.2
LOOK_SECONDS = 2.0
#: Looks take at most one in so many seconds: with a thousand runs one takes tenths of a second, and every point is a change.
_REST = 10
#: Time in which a sweep is driven is written down so often: what a kill may take from a budget of hours.
_CLOCK_SECONDS = 10.0
#: Workers that may be started for one run before a failure of it is final.
MOST_ATTEMPTS = 3
#: A search that proposes nothing but impossible combinations ends after so many in a row.
MOST_REFUSED = 50
#: Why a run is paused that nobody paused.
_NOBODY = (Reason.APP_CLOSED, Reason.TERMINATED, Reason.APP_GONE)


def launch_key(sweep_id: str, number: int, seed: int) -> str:
    """What makes the launch of one run of a sweep happen once."""
    return f"sweep:{sweep_id}:{number}:{seed}"


class Conductor:
    """Drives the sweeps of this folder from a thread.

    Args:
        store: where they are.
        active: whether this process is the one that starts runs (:attr:`privlab.runs.dispatcher.Dispatcher.active`).

    Attributes:
        problem: what keeps sweeps from going on, in plain words; None if all is well.
    """

    def __init__(self, store: Store, active: Callable[[], bool]):
        self._store = store
        self._active = active
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="conductor", daemon=True)
        self._clock: dict[str, float] = {}
        self.problem: str | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Launch nothing more. Call it before the dispatcher pauses the runs."""
        self._closing.set()
        self._thread.join()

    def _loop(self) -> None:
        version, next_look, earliest = None, 0.0, 0.0
        while not self._closing.wait(TICK_SECONDS):
            now = time.monotonic()
            try:
                if not self._active():
                    self._clock.clear()
                    continue
                if now < earliest:
                    continue
                changed = self._store.version()
                if changed != version or now >= next_look:
                    version, next_look = changed, now + LOOK_SECONDS
                    self.look()
                    earliest = time.monotonic() + _REST * (time.monotonic() - now)
                    self.problem = None
            except StoreError as error:
                self._trouble(str(error))
            except Exception as error:
                # The only thread that drives sweeps: it reports and goes on.
                self._trouble(f"Sweeps stand still at the moment: {type(error).__name__}: {error}", trace=True)

    def _trouble(self, problem: str, trace: bool = False) -> None:
        if problem != self.problem:
            log.error("%s", problem, exc_info=trace)
        self.problem = problem
        self._closing.wait(LOOK_SECONDS)

    def look(self) -> None:
        """Do everything for every sweep that can be done at this moment."""
        for sweep in self._store.sweeps(place=place_id(), open_only=True):
            if self._closing.is_set():
                return
            if sweep.state is SweepState.RUNNING:
                self._drive(sweep)
            else:
                self._clock.pop(sweep.id, None)
                self._settle(sweep)

    def _settle(self, sweep: Sweep) -> None:
        """Pass a pause or a stop on to the runs, once: a person may resume one of them afterwards."""
        now = standing(self._store, sweep.id)
        act = runs_control.pause if sweep.state is SweepState.PAUSED else runs_control.stop
        wanted = "pause" if sweep.state is SweepState.PAUSED else "stop"
        for row, result in now.results:
            run = result.run
            if run is not None and not run.status.is_over and wanted in runs_control.actions(run):
                self._quietly(act, run)
            self._keep(now, row, result)
        self._store.settle_sweep(sweep.id, sweep.state)

    def _drive(self, sweep: Sweep) -> None:
        self._count_time(sweep)
        now = standing(self._store, sweep.id)
        for row, result in now.results:
            self._keep(now, row, result)
            if (_is_stranded(result) and not self._is_void(result.run)) or (not sweep.settled and _was_halted(result)):
                self._quietly(runs_control.resume, result.run)
            elif _is_to_end(result):
                self._quietly(runs_control.stop, result.run)
        if not sweep.settled:
            self._store.settle_sweep(sweep.id, sweep.state)
        self._prune(now)
        while not self._closing.is_set():
            now = standing(self._store, sweep.id)
            if now.sweep.state is not SweepState.RUNNING or self._open(now) >= now.spec.at_once:
                return
            try:
                ended = self._launch_next(now)
            except (ConfigError, RunActionError) as error:
                # What could be launched when it was proposed no longer can: a key, a package or a device has gone.
                self._halt(now, f"The next run cannot be launched: {error}")
                return
            if ended is not None:
                if self._open(now) == 0:
                    self._finish(now, ended)
                return

    def _halt(self, now: Standing, reason: str) -> None:
        with suppress(SweepConflict):
            self._store.move_sweep(now.sweep.id, SweepState.PAUSED, expect=[SweepState.RUNNING], reason=reason)

    def _open(self, now: Standing) -> int:
        """Runs that are not over, or will be resumed at the next look."""
        return sum(
            not result.is_over or (_is_stranded(result) and not self._is_void(result.run)) for _, result in now.results
        )

    def _finish(self, now: Standing, reason: str) -> None:
        for row, result in now.results:
            self._keep(now, row, result)
        self._clock.pop(now.sweep.id, None)
        with suppress(SweepConflict):
            self._store.move_sweep(now.sweep.id, SweepState.FINISHED, expect=[SweepState.RUNNING], reason=reason)

    # Launching --------------------------------------------------------------------------------------------------------

    def _launch_next(self, now: Standing) -> str | None:
        """Launch one run, or keep one refused combination. Returns why nothing more is to be launched, else None."""
        spec = now.spec
        if spec.budget.runs is not None and now.launched >= spec.budget.runs:
            return f"The budget of {spec.budget.runs:,} runs is spent."
        if spec.budget.hours is not None and now.sweep.seconds >= 3600 * spec.budget.hours:
            return f"The budget of {spec.budget.hours:g} hours is spent."
        waiting = _waiting(now)
        if waiting is not None:
            return self._launch(now, *waiting)
        if len(now.rows) >= now.trials:
            return "Every combination was trained." if spec.method == "grid" else f"All {now.trials:,} trials are done."
        last = now.rows[-MOST_REFUSED:]
        if spec.method != "grid" and len(last) == MOST_REFUSED and all(row.trial.refused for row in last):
            return f"The last {MOST_REFUSED} combinations that were proposed were all refused."
        values = propose(spec, now.rows)
        if values is None:
            return "Every combination was tried."
        found = check_candidate(spec, values)
        refused = found.refused
        if found.checked and spec.budget.epsilon is not None and not found.checked.plan.is_private:
            refused = f"It has no guarantee, and the sweep has a budget of ε = {spec.budget.epsilon:g}."
        self._store.add_trial(now.sweep.id, len(now.rows), values, refused)
        return None

    def _launch(self, now: Standing, row: Row, seed: int) -> str | None:
        spec, number = now.spec, row.trial.number
        config = spec.candidate(row.trial.values, seed)
        if spec.budget.epsilon is not None and not self._affordable(now, preflight(config)):
            return f"The next run would pass the budget of ε = {spec.budget.epsilon:g} for all runs together."
        key = launch_key(now.sweep.id, number, seed)
        run = runs_control.launch(self._store, config, launch_key=key, group=now.sweep.id)
        self._store.link_trial_run(now.sweep.id, number, seed, run.id)
        return None

    def _affordable(self, now: Standing, checked: Preflight) -> bool:
        config = checked.config
        together = spent_if_launched(self._store, now, checked.plan, config.data.dataset, config.privacy.randomness)
        return together <= now.spec.budget.epsilon

    # Runs -------------------------------------------------------------------------------------------------------------

    def _keep(self, now: Standing, row: Row, result: Result) -> None:
        """Write down what a run has come to when it is over, or that it went on after all."""
        if result.run is None:
            return
        status = result.status if result.is_over else None
        if result.kept.status == status and (status is None or result.kept.step == result.step):
            return
        self._store.note_trial_run(
            now.sweep.id,
            row.trial.number,
            result.kept.seed,
            status=status,
            metrics=result.metrics,
            epsilon=result.epsilon,
            step=result.step,
            seconds=result.seconds,
        )

    def _is_void(self, run: Run) -> bool:
        """Whether its mechanism was found not to be its plan: trying again would make the same false claim."""
        return any(event.kind == "void" for event in self._store.events(run.id))

    def _prune(self, now: Standing) -> None:
        spec = now.spec
        if spec.prune == "none":
            return
        known = [(row, each) for row, each in now.results if each.run is not None]
        for row, result in known:
            run = result.run
            if run.status is not Status.RUNNING or result.kept.pruned is not None:
                continue
            others = [
                self._store.columns(each.run.id) for other, each in known if other.trial.number != row.trial.number
            ]
            mine = self._store.columns(run.id)
            why = hopeless(mine, run.steps, others, metric=spec.metric, along=spec.prune)
            if why is not None:
                # Kept before the run is told: a kill in between leaves a wish, which the next look fulfils.
                self._store.note_trial_run(now.sweep.id, row.trial.number, result.kept.seed, pruned=why)
                self._quietly(runs_control.stop, run)

    def _quietly(self, act: Callable[[Store, str], Run], run: Run) -> None:
        try:
            act(self._store, run.id)
        except (RunActionError, ConfigError) as error:
            log.info("%s", error)

    def _count_time(self, sweep: Sweep) -> None:
        now = time.monotonic()
        since = self._clock.setdefault(sweep.id, now)
        if now - since >= _CLOCK_SECONDS:
            # A laptop that slept did no work: the monotonic clock stood still.
            self._store.add_sweep_seconds(sweep.id, now - since)
            self._clock[sweep.id] = now


def _is_stranded(result: Result) -> bool:
    """Whether a run stands still though nobody wanted that."""
    run = result.run
    if run is None or run.deleted is not None or result.kept.pruned is not None:
        return False
    return (run.status is Status.PAUSED and run.reason in _NOBODY) or (
        run.status is Status.FAILED and run.attempt < MOST_ATTEMPTS
    )


def _was_halted(result: Result) -> bool:
    """Whether a run stands still as its sweep did."""
    run = result.run
    return (
        run is not None
        and run.deleted is None
        and result.kept.pruned is None
        and run.status in (Status.PAUSED, Status.STOPPED)
    )


def _is_to_end(result: Result) -> bool:
    """Whether a run was to be ended early and has not been told."""
    run = result.run
    return (
        run is not None
        and result.kept.pruned is not None
        and run.deleted is None
        and not run.status.is_over
        and run.requested != "stop"
    )


def _waiting(now: Standing) -> tuple[Row, int] | None:
    """The first trial and seed that is to be launched and was not."""
    for row in now.accepted:
        known = {result.kept.seed for result in row.results}
        if not row.was_pruned:
            for seed in now.spec.all_seeds:
                if seed not in known:
                    return row, seed
    return None
