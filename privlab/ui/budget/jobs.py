"""Accountants too slow to wait for: they work in the background, one at a time, and their results are kept."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

#: Seconds that values must stay before work on them begins, so that a sliding value starts none.
_REST = 0.4
_KEPT = 256


class Superseded(Exception):
    """Other values were asked for before the work began."""


class Jobs:
    """Results by what was asked; asking again gives the same :class:`~concurrent.futures.Future`.

    Args:
        name: of the one thread.
        rest: seconds before the work begins; what is no longer the last question by then is dropped.
    """

    def __init__(self, name: str, rest: float = _REST):
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._asked: OrderedDict[object, Future] = OrderedDict()
        self._last: dict[str, object] = {}
        self._rest = rest

    def ask(self, who: str, what: object, work: Callable[[], float]) -> Future:
        """The future of ``work()``, begun for ``what`` if nobody has asked that yet; ``who`` is the session that asks."""
        with self._lock:
            self._last[who] = what
            future = self._asked.get(what)
            if future is None or (future.done() and isinstance(future.exception(), Superseded)):
                future = self._asked[what] = self._pool.submit(self._work, what, work)
                while len(self._asked) > _KEPT:
                    self._asked.popitem(last=False)
            return future

    def known(self, what: object) -> Future | None:
        """The future for ``what``, if anybody asked."""
        with self._lock:
            return self._asked.get(what)

    def _work(self, what: object, work: Callable[[], float]) -> float:
        time.sleep(self._rest)
        with self._lock:
            if what not in self._last.values():
                raise Superseded
        return work()


def outcome(future: Future) -> tuple[float, str]:
    """ε of a future that is done, or NaN, and why there is none."""
    error = future.exception()
    return (math.nan, str(error)) if error else (float(future.result()), "")
