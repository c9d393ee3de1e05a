"""``python -m privlab.training.costjob``: measures methods one after the other and says what it finds, a JSON object a line.

The first line of standard input holds ``{"config", "methods", "threads", "seconds"}``; the job ends with that input, hence with
whoever started it, and at SIGTERM. Lines, each with its ``kind``: ``waiting`` (another measurement is under way on this machine),
``measuring`` (``method``, and the share of everything that is ``done``), ``cost`` (``method`` and what :class:`~privlab.metrics.Cost` holds),
``failure`` (``method``, ``message``), ``refused`` (``message``), and last ``finished`` or ``stopped``.

Each method is measured in a process of its own: its peak memory is then its own, and one that does not fit into memory ends alone.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import multiprocessing
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from multiprocessing.connection import Connection, wait
from typing import Any

import psutil
import torch

from privlab import paths
from privlab.config import ConfigError, RunConfig
from privlab.data.load import DataMissing
from privlab.dpsgd.chunks import out_of_memory
from privlab.dpsgd.guards import MechanismError
from privlab.joblines import say
from privlab.metrics import Cost
from privlab.preflight import Preflight, preflight
from privlab.priority import yield_to_people
from privlab.training.cost import measure

#: Seconds between two looks at who else measures, and between two words about progress.
_EVERY = 0.25
#: Rounds over the methods, and the multiple of the wished seconds from which on one is enough.
_ROUNDS, _LONG = 2, 2
#: Memory left to everybody else, in bytes.
_SPARE = 256 << 20
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def main() -> int:
    """The exit status: 0 finished or stopped, 2 refused."""
    yield_to_people()
    asked = json.loads(sys.stdin.buffer.readline())
    try:
        checked = preflight(RunConfig.from_dict(asked["config"]))
    except ConfigError as error:
        _say("refused", message=" ".join(problem.message for problem in error.problems))
        return 2
    # What every optimiser loads, once and before the processes fork; nothing here may start a thread or touch CUDA.
    torch.optim.SGD([torch.zeros(1)], lr=1.0)
    with (paths.costs_dir() / "lock").open("w") as lock:
        ended = _take(lock) and _measure_all(checked, asked["methods"], asked["threads"], asked["seconds"])
    _say("finished" if ended else "stopped")
    return 0


def _measure_all(checked: Preflight, methods: list[str], threads: int, seconds: float) -> bool:
    """Measure each method, in rounds, and say what came of it; False where stopped.

    Other work on the machine comes in bursts and only makes a step slower, so the quicker round counts, and the larger memory.
    Methods that take long are measured once.
    """
    found: dict[str, Cost] = {}
    places = [(method, turn) for turn in range(_ROUNDS) for method in methods]
    for place, (method, turn) in enumerate(places):
        if turn and (method not in found or found[method].steps * found[method].seconds > _LONG * seconds):
            continue

        def progress(share: float, method: str = method, place: int = place) -> None:
            _say("measuring", method=method, done=(place + share) / len(places))

        result = _measured(checked, method, threads, seconds / _ROUNDS, progress)
        if result is None:
            return False
        if isinstance(result, Cost):
            found[method] = _better(found.get(method), result)
            _say("cost", method=method, **asdict(found[method]))
        elif method not in found:
            _say("failure", method=method, message=result)
    return True


def _better(before: Cost | None, now: Cost) -> Cost:
    if before is None:
        return now
    memory = None if before.memory is None or now.memory is None else max(before.memory, now.memory)
    return replace(min(before, now, key=lambda cost: cost.seconds), memory=memory)


def _take(lock: Any) -> bool:
    """Wait until nobody else measures here: two at once would slow each other. False where stopped meanwhile."""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            _say("waiting")
        if select.select([sys.stdin], [], [], _EVERY)[0]:
            return False


def _measured(
    checked: Preflight, method: str, threads: int, seconds: float, progress: Callable[[float], None]
) -> Cost | str | None:
    """Measure ``method`` in a process of its own; a sentence where that failed, None where stopped."""
    progress(0.0)
    # Only Linux forks safely with the frameworks that torch has loaded.
    start = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    ours, theirs = start.Pipe(duplex=False)
    process = start.Process(target=_child, args=(theirs, os.getpid(), checked, method, threads, seconds))
    process.start()
    theirs.close()
    try:
        while True:
            if ours not in wait([ours, sys.stdin.fileno()]):
                return None
            try:
                said = ours.recv()
            except EOFError:
                process.join()
                return _how_it_ended(process.exitcode)
            if not isinstance(said, float):
                return said
            progress(said)
    finally:
        process.kill()
        process.join()


def _child(pipe: Connection, parent: int, checked: Preflight, method: str, threads: int, seconds: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)  # Linux; elsewhere the next step's end must do
    torch.set_num_threads(threads)
    _be_the_first_to_go(checked.config.performance.device)
    said = 0.0

    def progress(share: float) -> None:
        nonlocal said
        if os.getppid() != parent:
            os._exit(1)
        if time.monotonic() - said > _EVERY:
            said = time.monotonic()
            pipe.send(share)

    try:
        pipe.send(measure(checked, method, seconds, progress))
    except (MechanismError, ConfigError, DataMissing) as error:
        pipe.send(_words(error))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        pipe.send("It needs more memory than is free here.")


def _be_the_first_to_go(device: str) -> None:
    """Where memory runs out, it is this process that ends, and not the app or a run."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    if device == "cpu" or not torch.cuda.is_available():
        # An accelerator's driver reserves far more addresses than memory.
        free = psutil.virtual_memory().available - _SPARE + psutil.Process().memory_info().data
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (free, resource.RLIM_INFINITY))


def _how_it_ended(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "The system ended it, most likely because memory ran out."
    if code is not None and code < 0:
        return f"It ended by signal {-code} ({signal.Signals(-code).name})."
    return "It ended with an error, which the log “costs.log” holds."


def _words(error: MechanismError | ConfigError) -> str:
    return " ".join(p.message for p in error.problems) if isinstance(error, ConfigError) else str(error)


def _say(kind: str, **what: Any) -> None:
    try:
        say(kind, **what)
    except BrokenPipeError:
        # Nobody listens any more.
        os._exit(1)


if __name__ == "__main__":
    status = main()
    # Without torch's long way out.
    os._exit(status)
