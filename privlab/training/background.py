"""Long work beside a generator, so that the generator can say how far it is, and be told to end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

from privlab.training.events import Event

T = TypeVar("T")
#: ``progress(done, total, what)``: ``total`` is None where it is not known.
Progress = Callable[[int, int | None, str], None]
#: Seconds between two events, and between two looks at whether the work is still wanted.
_EVERY = 0.5


class Unwanted(Exception):
    """The work was given up because nobody wants its result any more."""


def narrated(work: Callable[[Progress], T], unwanted: Callable[[], object]) -> Generator[Event, None, T]:
    """Do ``work(progress)`` in a thread; yield ``info`` events of its progress, two a second at most; return its result.

    Args:
        work: ends early when ``progress`` raises.
        unwanted: asked twice a second; a true answer gives the work up.

    Raises:
        Unwanted: it was given up; it ends at its next word about progress, unheard.
        Exception: whatever ``work`` raises.
    """
    said: queue.SimpleQueue[tuple[int, int | None, str]] = queue.SimpleQueue()
    given_up = threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def progress(done: int, total: int | None, what: str) -> None:
        if given_up.is_set():
            raise Unwanted
        said.put((done, total, what))

    def run() -> None:
        try:
            results.append(work(progress))
        except BaseException as error:  # handed to the caller's thread below
            errors.append(error)

    # A daemon, so that a run that is told to end need not wait for it.
    thread = threading.Thread(target=run, name="privlab-prepare", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_EVERY)
            if thread.is_alive():
                if unwanted():
                    raise Unwanted
                yield from _latest(said)
    finally:
        given_up.set()
    if errors:
        raise errors[0]
    return results[0]


def _latest(said: queue.SimpleQueue[tuple[int, int | None, str]]) -> Generator[Event, None, None]:
    latest = None
    while not said.empty():
        latest = said.get()
    if latest:
        done, total, what = latest
        share = f" {100 * done // total} %" if total else ""
        yield Event("info", f"{what}{share}", {"done": done, "total": total})
