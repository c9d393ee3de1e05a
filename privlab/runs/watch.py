"""The worker's second thread: signs of life to the store, wishes from it, and whether the app is still there."""

from __future__ import annotations

import logging
import os
import threading
import time

from privlab.runs.presence import app_is_alive
from privlab.runs.record import Reason, Run, Status
from privlab.runs.store import LostRun, StatusConflict, Store, StoreError

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
BEAT_SECONDS = 2.0
#: The app may be away this long (a restart) before its workers pause.
APP_AWAY_SECONDS = 5.0
#: After that, the present batch has this long to reach its end. With the above, no worker outlives the app by 15 s.
APP_GONE_GRACE_SECONDS = 5.0
#: Before the first batch (features being computed, say) there is nothing to lose, so no reason to wait.
IDLE_GRACE_SECONDS = 2.0


class Watch:
    """Watches over one attempt of a run from a thread of the worker's process.

    Args:
        in_background: the process exists for this run alone: it ends when the app is gone, and may be ended from here when
            the training loop does not come to a wish in time.
    """

    def __init__(self, store: Store, run: Run, *, in_background: bool):
        self._store = store
        self._run = run
        self._in_background = in_background
        self._thread = threading.Thread(target=self._loop, name="watch", daemon=True)
        self._closed = threading.Event()
        self._ending = threading.Lock()
        self._training = False
        self._wish: str | None = None
        self._wish_since = 0.0
        self._away_since: float | None = None
        #: Why the worker itself decided to pause; None when a request in the store is the reason.
        self.reason: Reason | None = None

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """No more looks, and no more ending of the process from here."""
        with self._ending:
            self._closed.set()

    def control(self) -> str | None:
        """What the training loop asks at the end of each logical batch: ``pause``, ``stop`` or None."""
        self._training = True
        return self._wish

    def ask(self, reason: Reason) -> None:
        """Pause for a reason of the worker's own."""
        self.reason = reason
        self._set_wish("pause")

    def _set_wish(self, wish: str | None) -> None:
        if wish != self._wish:
            self._wish = wish
            self._wish_since = time.monotonic()

    def _loop(self) -> None:
        next_beat = 0.0
        while not self._closed.wait(LOOK_SECONDS):
            try:
                self._look(beat=time.monotonic() >= next_beat)
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + BEAT_SECONDS
            except LostRun as lost:
                log.warning("%s", lost)
                self._end_process(1)
                # A shell command's process is not ended from here; its training stops at the next batch.
                self._set_wish("stop")
                return
            except StoreError as error:
                # A full disk or a busy store passes; the training loop reports it if it lasts.
                log.warning("%s", error)
            if self._in_background:
                self._mind_app()
                self._mind_time()

    def _look(self, beat: bool) -> None:
        if beat:
            requested = self._store.beat(self._run.id, self._run.attempt)
        else:
            now = self._store.get(self._run.id)
            if now.attempt != self._run.attempt or now.status is not Status.RUNNING:
                raise LostRun(f"Run {self._run.id} was taken from attempt {self._run.attempt}.")
            requested = now.requested
        if requested:
            self.reason = None
            self._set_wish(requested)
        elif self.reason is None:
            self._set_wish(None)

    def _mind_app(self) -> None:
        now = time.monotonic()
        if app_is_alive():
            self._away_since = None
            if self.reason is Reason.APP_GONE:
                self.reason = None
                self._set_wish(None)
            return
        if self._away_since is None:
            self._away_since = now
        if self._wish is None and now - self._away_since > APP_AWAY_SECONDS:
            self.ask(Reason.APP_GONE)

    def _mind_time(self) -> None:
        """End the process if the training loop has not answered a wish in the time it is given."""
        if self._wish is None:
            return
        now = time.monotonic()
        gone = self._away_since is not None and now - self._away_since > APP_AWAY_SECONDS + APP_GONE_GRACE_SECONDS
        idle = not self._training and now - self._wish_since > IDLE_GRACE_SECONDS
        if gone or idle:
            to = Status.STOPPED if self._wish == "stop" else Status.PAUSED
            say = "Ended before the batch was complete; what it did since the last checkpoint is done again on resume."
            self._end_process(0, to, say if self._training else None)

    def _end_process(self, code: int, to: Status | None = None, say: str | None = None) -> None:
        if not self._in_background:
            return
        with self._ending:
            # The training loop may have come to its end in the meantime: then it has the word.
            if self._closed.is_set():
                return
            if to is not None:
                changes = pause_changes(self._run, self.reason) if to is Status.PAUSED else {}
                try:
                    self._store.move(
                        self._run.id, to, expect=[Status.RUNNING], attempt=self._run.attempt, say=say, **changes
                    )
                except StatusConflict as conflict:
                    log.warning("%s", conflict)
                except StoreError as error:
                    log.warning("%s", error)
                    code = os.EX_IOERR
            os._exit(code)


def pause_changes(run: Run, reason: Reason | None) -> dict[str, Reason]:
    """Columns for a pause that the worker decided on; none when the request in the store already says why."""
    if reason is None:
        return {}
    # Nobody could restart it without its passphrase, so it must not say that it goes on by itself.
    return {"reason": Reason.PASSPHRASE if reason is Reason.APP_GONE and run.needs_passphrase else reason}
