"""Starts queued runs and watches over their workers, from a thread of the app's process. Torch-free.

One process does this per ``PRIVLAB_HOME``: the one that holds the :class:`~privlab.runs.presence.AppLock`. A second app
stays passive and tries again. Nothing that matters is kept here: after a restart everything is found in the store, and
living workers are taken over by process number, start time and heartbeat.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from privlab.runs import passphrases, processes
from privlab.runs.limits import max_concurrent, threads_for
from privlab.runs.link import ZYGOTE, ZygoteLink
from privlab.runs.place import place_id
from privlab.runs.presence import AppLock
from privlab.runs.record import Reason, Run, Status
from privlab.runs.store import StatusConflict, Store, StoreError

log = logging.getLogger(__name__)

#: How often the store's change counter is read: the delay between a launch and the request to the zygote.
TICK_SECONDS = 0.03
#: How often everything is looked at even if the store did not change: the delay until a dead worker is noticed.
LOOK_SECONDS = 1.0
#: A worker of ours that is gone is given this long for its exit status to arrive.
_EXIT_STATUS_SECONDS = 1.0
#: A worker that was asked for and has not reported by then is asked for again; sooner if an app before this one asked.
STARTING_SECONDS = 30.0
TAKEN_OVER_SECONDS = 5.0
#: A living worker without a heartbeat for this long is stuck and is killed.
STUCK_SECONDS = 60.0
#: A zygote that fails so often before it is warm will not come up.
_ZYGOTE_FAILURES = 3
PURGE_AFTER_SECONDS = 7 * 24 * 3600.0
_PURGE_EVERY_SECONDS = 3600.0
_ACTIVE = (Status.STARTING, Status.RUNNING)


@dataclass
class _Seen:
    """What this process observed of one attempt; times are monotonic, so a sleeping laptop makes nobody look dead."""

    attempt: int
    since: float
    generation: int
    patience: float
    heartbeat: float | None = None
    heard: float = 0.0
    missing_since: float | None = None
    exit_code: int | None = None
    ended: bool = False


@dataclass
class _Desk:
    seen: dict[str, _Seen] = field(default_factory=dict)
    next_purge: float = 0.0


class Dispatcher:
    """The app's launcher.

    Args:
        store: where the queue is.
        zygote: command that starts the zygote.

    Attributes:
        problem: what keeps runs from starting, in plain words; None if all is well.
    """

    def __init__(self, store: Store, *, zygote: Sequence[str] = ZYGOTE):
        self._store = store
        self._link = ZygoteLink(store.url, zygote)
        self._lock = AppLock()
        self._place = place_id()
        self._desk = _Desk()
        self._thread = threading.Thread(target=self._loop, name="dispatcher", daemon=True)
        self._closing = threading.Event()
        self._closed = threading.Event()
        self.problem: str | None = None

    @property
    def active(self) -> bool:
        """Whether this process is the one that starts runs."""
        return self._lock.held

    @property
    def ready(self) -> bool:
        """Whether the zygote is warm."""
        return self._link.ready

    @property
    def zygote_pid(self) -> int | None:
        return self._link.pid

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 20.0) -> None:
        """Let every run come to a checkpoint and pause, then end the zygote. Returns after about ``timeout`` s at most.

        Runs that have not paused by then are ended; they go on from their last checkpoint. Queued runs stay queued.
        """
        self._closing.set()
        try:
            if self._lock.held:
                self._pause_all(time.monotonic() + timeout)
        except StoreError as error:
            log.error("runs could not be paused: %s", error)
        self._closed.set()
        self._thread.join()
        self._link.close()
        self._lock.release()

    def _pause_all(self, deadline: float) -> None:
        while running := self._ours():
            if time.monotonic() > deadline:
                break
            for run in running:
                if run.requested is None:
                    self._quietly(lambda run=run: self._store.request(run.id, "pause", Reason.APP_CLOSED))
            time.sleep(0.05)
        for run in running:
            if run.pid:
                processes.kill_group(run.pid, run.process_started)
            say = f"The app closed before the batch was complete; goes on after step {run.step} or later."
            to = Status.STOPPED if run.requested == "stop" else Status.PAUSED
            changes = {"reason": Reason.APP_CLOSED} if to is Status.PAUSED else {}
            self._move(run, to, say=say, **changes)

    def _ours(self) -> list[Run]:
        """Active runs whose workers live and die with the app."""
        return [run for run in self._active_runs() if not run.foreground]

    def _active_runs(self) -> list[Run]:
        return self._store.list(status=_ACTIVE, place=self._place, deleted=None)

    # The thread -------------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        version = None
        next_look = 0.0
        while not self._closed.wait(TICK_SECONDS):
            now = time.monotonic()
            try:
                if not self._lock.held:
                    if self._closing.is_set() or not self._lock.acquire():
                        self._closed.wait(LOOK_SECONDS)
                        continue
                    log.info("this app starts the runs of this folder")
                self._link.ensure(now)
                heard = self._listen(now)
                changed = self._store.version()
                if heard or changed != version or now >= next_look:
                    version, next_look = changed, now + LOOK_SECONDS
                    self._look(now)
            except StoreError as error:
                self._trouble(str(error))
            except Exception as error:
                # The thread is the only one that starts runs: it reports and goes on.
                log.exception("dispatcher")
                self._trouble(f"Runs cannot be started at the moment: {type(error).__name__}: {error}")

    def _trouble(self, problem: str) -> None:
        if problem != self.problem:
            log.error("%s", problem)
        self.problem = problem
        self._closed.wait(LOOK_SECONDS)

    def _listen(self, now: float) -> bool:
        messages = self._link.hear(now)
        for message in messages:
            seen = self._desk.seen.get(message["run_id"])
            if seen and seen.attempt == message["attempt"] and "ended" in message:
                seen.ended = True
                seen.exit_code = message["ended"]
        return bool(messages)

    def _look(self, now: float) -> None:
        active = self._active_runs()
        for run in active:
            self._watch(run, now)
        ids = {run.id for run in active}
        self._desk.seen = {run_id: seen for run_id, seen in self._desk.seen.items() if run_id in ids}
        self.problem = None
        if self._closing.is_set():
            return
        if self._link.ready:
            self._welcome_back()
            self._fill()
        elif self._link.failures >= _ZYGOTE_FAILURES:
            self._give_up()
        if now >= self._desk.next_purge:
            self._store.purge(PURGE_AFTER_SECONDS)
            self._desk.next_purge = now + _PURGE_EVERY_SECONDS

    # Queue ------------------------------------------------------------------------------------------------------------

    def _queue(self) -> list[Run]:
        """Queued runs, the oldest first."""
        return self._store.list(status=[Status.QUEUED], place=self._place)[::-1]

    def _fill(self) -> None:
        active = len(self._active_runs())
        free = max_concurrent(self._store) - active
        queue = self._queue() if free > 0 else []
        for run in queue:
            passphrase = passphrases.recall(run.id) if run.needs_passphrase else None
            if run.needs_passphrase and passphrase is None:
                self._move(run, Status.PAUSED, reason=Reason.PASSPHRASE, say=Reason.PASSPHRASE.explanation)
                continue
            if free <= 0:
                continue
            free -= 1
            self._launch(run, passphrase, alone=active + len(queue) == 1)

    def _launch(self, run: Run, passphrase: str | None, alone: bool) -> None:
        started = self._quietly(lambda: self._store.claim(run.id, foreground=False))
        if started is None:
            return
        sent = self._link.send(
            run_id=run.id,
            attempt=started.attempt,
            passphrase=passphrase,
            threads=threads_for(run.config, alone),
            device=run.config.performance.device,
        )
        if sent:
            self._desk.seen[run.id] = _Seen(started.attempt, time.monotonic(), self._link.generation, STARTING_SECONDS)
        else:
            self._move(started, Status.QUEUED, say="The process that starts runs is being renewed.")

    def _welcome_back(self) -> None:
        """Queue the runs that paused only because the app was gone."""
        for run in self._store.list(status=[Status.PAUSED], place=self._place):
            if run.reason is Reason.APP_GONE and not run.needs_passphrase:
                self._move(run, Status.QUEUED, kind="resumed", say=f"The app is back; goes on after step {run.step}.")

    def _give_up(self) -> None:
        self.problem = f"The process that trains cannot be started: {self._link.last_words()}"
        for run in self._queue():
            self._move(run, Status.FAILED, error=self.problem, say=self.problem)

    # Workers ----------------------------------------------------------------------------------------------------------

    def _watch(self, run: Run, now: float) -> None:
        seen = self._desk.seen.get(run.id)
        if seen is None or seen.attempt != run.attempt:
            # Taken over from an earlier app, or started by a shell command.
            seen = self._desk.seen[run.id] = _Seen(run.attempt, now, self._link.generation, TAKEN_OVER_SECONDS)
        if run.status is Status.STARTING:
            self._watch_starting(run, seen, now)
        else:
            passphrases.forget(run.id)
            self._watch_running(run, seen, now)

    def _watch_starting(self, run: Run, seen: _Seen, now: float) -> None:
        if seen.ended:
            self._report_death(run, seen)
        elif seen.generation != self._link.generation or now - seen.since > seen.patience:
            self._start_over(run)

    def _start_over(self, run: Run) -> None:
        """Its worker never reported. Should it come up late, the new attempt number keeps it from writing."""
        if run.requested == "stop":
            self._move(run, Status.STOPPED, say="Stopped before its process came up.")
        elif run.requested == "pause":
            self._move(run, Status.PAUSED, say="Paused before its process came up.")
        else:
            self._move(run, Status.QUEUED, say="Its process did not come up; it is started again.")

    def _watch_running(self, run: Run, seen: _Seen, now: float) -> None:
        if run.heartbeat != seen.heartbeat:
            seen.heartbeat, seen.heard = run.heartbeat, now
        if processes.is_alive(run.pid, run.process_started):
            seen.missing_since = None
            if now - seen.heard > STUCK_SECONDS and not run.foreground:
                processes.kill_group(run.pid, run.process_started)
                self._fail(run, f"The worker gave no sign of life for {STUCK_SECONDS:.0f} s and was ended")
            return
        if seen.missing_since is None:
            seen.missing_since = now
        # Only the zygote that started it learns how a worker ended.
        if seen.ended or now - seen.missing_since >= _EXIT_STATUS_SECONDS:
            self._report_death(run, seen)

    def _report_death(self, run: Run, seen: _Seen) -> None:
        passphrases.forget(run.id)
        code = seen.exit_code
        if run.requested == "stop":
            self._move(run, Status.STOPPED, say=f"Stopped; its worker ended at step {run.step} or later.")
        elif code is None:
            self._fail(run, "The worker is gone without a word (it was killed, or the machine restarted)")
        elif code < 0:
            self._fail(run, f"The worker was killed by signal {-code} ({_signal_name(-code)}){_hint(-code)}")
        elif code == os.EX_IOERR:
            self._fail(run, "The worker could not write to the store, because the disk is full")
        else:
            self._fail(run, f"The worker ended by itself with exit status {code}; its log says more")

    def _fail(self, run: Run, why: str) -> None:
        error = f"{why}; resume continues from the last checkpoint, step {run.step} or later."
        self._move(run, Status.FAILED, error=error, say=error)

    def _move(self, run: Run, to: Status, **changes) -> Run | None:
        """Change the run unless someone else was quicker."""
        return self._quietly(lambda: self._store.move(run.id, to, expect=[run.status], attempt=run.attempt, **changes))

    @staticmethod
    def _quietly(change):
        try:
            return change()
        except StatusConflict as conflict:
            log.info("%s", conflict)
            return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _hint(number: int) -> str:
    return ", perhaps because memory ran out" if number == signal.SIGKILL else ""
