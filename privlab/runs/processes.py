"""Processes by number and start time, so that a later process with the same number is never mistaken for a worker."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import psutil

#: psutil derives start times from the clock, which may be set while a process runs.
_CLOCK_SLACK = 3.0


def start_time(pid: int) -> float | None:
    """Unix time at which process ``pid`` began; None if it is gone or only waits to be reaped."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.NoSuchProcess:
        return None


def is_alive(pid: int | None, started: float | None) -> bool:
    """Whether the process ``pid`` that began at ``started`` still runs."""
    if pid is None or started is None:
        return False
    found = start_time(pid)
    return found is not None and abs(found - started) < _CLOCK_SLACK


def kill_group(pid: int, started: float | None) -> None:
    """Kill a worker with everything it started. Workers lead their own process group; others are killed alone."""
    if not is_alive(pid, started):
        return
    with suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
