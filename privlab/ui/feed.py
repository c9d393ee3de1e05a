"""What watched runs look like now: one poller and one column cache for all browsers of this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import orjson

from privlab.runs.record import Run
from privlab.runs.store import Store, StoreError, UnknownRun

_log = logging.getLogger(__name__)

#: Seconds between two reads of the runs; most of a point's way to the screen is this wait.
INTERVAL = 0.5
#: Seconds between two looks at whether anything changed at all, which costs microseconds.
_GLANCE = 0.1
#: Longest wait between two tries to read a store that fails, seconds.
_MAX_BACKOFF = 8.0
#: The columns that every point has.
BASE_COLUMNS = ("step", "epoch", "seconds", "epsilon")


class StoreLike(Protocol):
    """What the feed needs of :class:`privlab.runs.store.Store`."""

    def get(self, run_id: str) -> Run: ...
    def columns(self, run_id: str, after: int = 0) -> dict[str, np.ndarray]: ...
    def version(self) -> str: ...


def describe(run: Run) -> dict[str, Any]:
    """The small status of a run that travels beside its points."""
    return {
        "name": run.name or run.id,
        "status": "deleted" if run.deleted is not None else run.status.value,
        "task": run.config.data.task,
        "step": run.step,
        "steps": run.steps,
        "epsilon": run.epsilon,
        "target": run.plan.epsilon_limit or run.plan.target_epsilon,
        "ends_early": bool(run.plan.planned_steps and run.plan.steps < run.plan.planned_steps),
        "private": run.plan.is_private,
        "seconds": round(run.seconds, 3),
        "requested": run.requested,
        "note": run.error or (run.reason.explanation if run.reason else None),
    }


#: Status of a run that the store does not know.
_UNKNOWN = orjson.dumps({"status": "unknown"})


@dataclass
class _Read:
    """What one look into the store found about a run. ``run`` is None for an unknown one."""

    run: Run | None
    columns: dict[str, np.ndarray] | None = None
    restart: bool = False


@dataclass
class _RunCache:
    """One run's points, as columns, and its status."""

    state: bytes = b""
    state_revision: int = 0
    generation: int = 0
    attempt: int = -1
    columns: dict[str, np.ndarray] = field(default_factory=lambda: {"step": np.empty(0, dtype=np.int64)})
    _encoded: dict[tuple[int, tuple[str, ...]], bytes] = field(default_factory=dict)

    @property
    def last_step(self) -> int:
        steps = self.columns["step"]
        return int(steps[-1]) if len(steps) else 0

    def take(self, read: _Read) -> bool:
        """Take over what was read; True if anything a watcher sees has changed."""
        changed = False
        state = _UNKNOWN if read.run is None else orjson.dumps(describe(read.run))
        if state != self.state:
            self.state, self.state_revision, changed = state, self.state_revision + 1, True
        if read.run is not None:
            self.attempt = read.run.attempt
        if read.columns is not None and (read.restart or len(read.columns["step"])):
            if read.restart and len(self.columns["step"]):
                self.generation += 1
            self.columns = read.columns if read.restart else _joined(self.columns, read.columns)
            self._encoded.clear()
            changed = True
        return changed

    def since(self, after: int, metrics: tuple[str, ...]) -> bytes | None:
        """Points with ``step > after`` as encoded columns, None if there are none. Watchers in step share the bytes."""
        start = int(np.searchsorted(self.columns["step"], after, side="right"))
        if start == len(self.columns["step"]):
            return None
        found = self._encoded.get((start, metrics))
        if found is None:
            # Seven digits are more than a chart shows, and half the bytes.
            part = {
                name: self.columns[name][start:].astype(np.int64 if name == "step" else np.float32)
                for name in (*BASE_COLUMNS, *metrics)
                if name in self.columns
            }
            found = self._encoded[start, metrics] = orjson.dumps(part, option=orjson.OPT_SERIALIZE_NUMPY)
        return found


def _joined(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``new`` behind ``old``; a column that one of them lacks is NaN there."""
    lengths = len(old["step"]), len(new["step"])
    gap = [np.full(n, np.nan) for n in lengths]
    return {name: np.concatenate([old.get(name, gap[0]), new.get(name, gap[1])]) for name in {**old, **new}}


class Watcher:
    """One browser's view: which runs and metrics it watches and how much of each it has."""

    def __init__(self, run_ids: Sequence[str]):
        self.run_ids = tuple(run_ids)
        self.metrics: tuple[str, ...] = ()
        self.after: dict[str, int] = {}
        self._seen_state: dict[str, int] = {}
        self._generation: dict[str, int] = {}
        self._told: str | None = None
        self._news = asyncio.Event()

    def ask(self, after: dict[str, int], metrics: Sequence[str]) -> None:
        """The browser says what it has: the last step of each run (0 for none, also to be sent everything again)."""
        self.metrics = tuple(metrics)
        self.after = {run_id: after.get(run_id, 0) for run_id in self.run_ids}
        self._seen_state.clear()
        self._generation.clear()
        self._news.set()

    def nudge(self) -> None:
        self._news.set()

    async def news(self, timeout: float) -> bool:
        """Wait until there may be something to send; False after ``timeout`` seconds without any."""
        # Not wait_for: up to Python 3.11 it can swallow a cancellation.
        try:
            async with asyncio.timeout(timeout):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    def message(self, caches: dict[str, _RunCache], problem: str | None) -> bytes | None:
        """All that this browser does not have yet, encoded; None if it has everything."""
        runs: dict[str, Any] = {}
        for run_id, after in self.after.items():
            cache = caches.get(run_id)
            if cache is None or not cache.state:
                continue
            item: dict[str, Any] = {}
            if self._seen_state.get(run_id) != cache.state_revision:
                item["state"] = orjson.Fragment(cache.state)
            restarted = self._generation.get(run_id, cache.generation) != cache.generation
            columns = cache.since(0 if restarted else after, self.metrics)
            if columns is not None:
                # From step 0 on means: drop what you have.
                item |= {"columns": orjson.Fragment(columns), "after": 0 if restarted else after}
                self.after[run_id] = cache.last_step
            if item:
                runs[run_id] = item
            self._seen_state[run_id] = cache.state_revision
            self._generation[run_id] = cache.generation
        body: dict[str, Any] = {"runs": runs} if runs else {}
        if problem != self._told:
            body["problem"] = self._told = problem
        return orjson.dumps(body) if body else None


class Feed:
    """The process's one poller. It works only while somebody watches.

    Args:
        open_store: opens the store; called in the poller's own thread, at the first watcher.
        interval: least seconds between two reads of the runs.
    """

    def __init__(self, open_store: Callable[[], StoreLike] = Store, interval: float = INTERVAL):
        self._open_store = open_store
        self._store: StoreLike | None = None
        self._interval = interval
        self._watchers: set[Watcher] = set()
        self._caches: dict[str, _RunCache] = {}
        self._version: str | None = None
        self._problem: str | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # One thread of its own: SQLite reports changes per connection, and the event loop never waits for a disk.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="privlab-feed")

    def join(self, watcher: Watcher) -> None:
        """Start to serve ``watcher``. What is known already is told at once."""
        self._watchers.add(watcher)
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._poll())
            self._task.add_done_callback(self._ended)

    def leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        self._wake.set()

    def message(self, watcher: Watcher) -> bytes | None:
        """What to send to ``watcher`` now, None if nothing."""
        return watcher.message(self._caches, self._problem)

    async def close(self) -> None:
        """Stop polling and end the thread."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)

    async def _poll(self) -> None:
        backoff = self._interval
        while self._watchers:
            wanted = {run_id for watcher in self._watchers for run_id in watcher.run_ids}
            fresh = wanted - self._caches.keys()
            try:
                reads = await asyncio.get_running_loop().run_in_executor(self._thread, self._look, wanted, fresh)
            except StoreError as error:
                _log.warning("The run store could not be read: %s", error)
                self._say(str(error))
                await self._rest(backoff)
                backoff = min(2 * backoff, _MAX_BACKOFF)
                continue
            backoff = self._interval
            self._say(None)
            self._take(reads)
            # Watchers share what they have in common; what nobody watches any more is forgotten.
            for run_id in self._caches.keys() - wanted:
                del self._caches[run_id]
            # After a quiet time a change is seen at once; while runs train, they are read once per interval.
            await self._rest(self._interval if reads else _GLANCE)
        self._caches.clear()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            _log.error("The live feed ended with an error.", exc_info=task.exception())
            self._say("Live updates stopped because of an error in the server; its log says more. Reload the page.")

    async def _rest(self, seconds: float) -> None:
        """Sleep, but not while a new watcher waits."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _say(self, problem: str | None) -> None:
        if problem != self._problem:
            self._problem = problem
            for watcher in self._watchers:
                watcher.nudge()

    def _take(self, reads: dict[str, _Read]) -> None:
        changed = {run_id for run_id, read in reads.items() if self._caches.setdefault(run_id, _RunCache()).take(read)}
        for watcher in self._watchers:
            if not changed.isdisjoint(watcher.run_ids):
                watcher.nudge()

    def _look(self, wanted: set[str], fresh: set[str]) -> dict[str, _Read]:
        """Read what changed; runs in the feed's thread. Empty if nobody wrote since the last time."""
        if self._store is None:
            self._store = self._open_store()
        # Asked before reading: what is written meanwhile is then seen as a change at the next look.
        version = self._store.version()
        if version == self._version and not fresh:
            return {}
        changed = wanted if version != self._version else fresh
        reads = {run_id: self._read(run_id) for run_id in changed}
        self._version = version
        return reads

    def _read(self, run_id: str) -> _Read:
        try:
            run = self._store.get(run_id)
            cache = self._caches.get(run_id)
            if cache is None or cache.attempt != run.attempt:
                # A new attempt may have recovered an earlier point: take all again.
                return _Read(run, self._store.columns(run_id), restart=True)
            if run.step > cache.last_step:
                return _Read(run, self._store.columns(run_id, after=cache.last_step))
            return _Read(run)
        except UnknownRun:
            return _Read(None)
