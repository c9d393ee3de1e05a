"""Which of several exact ways to the same numbers is quickest for a layer: each is tried once, and the finding is kept.

The ways differ in rounding only, about one part in 10⁷. A run that must repeat bit for bit in another process does not try:
it takes the first way, which is the one that arithmetic says is best.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch

from privlab.files import replace_atomically

#: Records of a trial: enough that overhead does not decide, few enough that nobody waits.
TRIAL_RECORDS = 32
#: Fewer say nothing about a batch; the first way is taken and nothing is kept.
FEWEST_RECORDS = 8
#: Times that each way is timed after a first time that does not count; the least counts.
_TURNS = 2


class Kernels:
    """What is known of layers on this machine.

    Args:
        file: where findings are kept between processes; None for this process only. A file that cannot be read or written
            is as good as none.
        measured: False to take the first way always.
    """

    def __init__(self, file: Path | None = None, measured: bool = True):
        self._file, self.measured = file, measured
        self._known: dict[str, str] | None = None

    def choose(self, layer: str, device: torch.device, ways: Sequence[str], trial: Callable[[str], object]) -> str:
        """The quickest of ``ways``.

        Args:
            layer: all that decides how long a record takes: kind, shapes, settings, type of numbers.
            ways: by name, the likeliest first.
            trial: goes one way with some records.
        """
        if len(ways) == 1 or not self.measured:
            return ways[0]
        if self._known is None:
            self._known = _read(self._file)
        key = f"{layer} {','.join(sorted(ways))} {_machine(device)}"
        if self._known.get(key) not in ways:
            self._known[key] = _quickest(device, ways, trial)
            _write(self._file, self._known)
        return self._known[key]


#: In force unless :func:`using` says otherwise.
_FIXED = Kernels(measured=False)
_current: ContextVar[Kernels] = ContextVar("kernels", default=_FIXED)


@contextmanager
def using(kernels: Kernels) -> Iterator[None]:
    """Layers within choose by ``kernels``."""
    token = _current.set(kernels)
    try:
        yield
    finally:
        _current.reset(token)


def choose(
    layer: str, device: torch.device, ways: Sequence[str], records: int, trial: Callable[[str, int], object]
) -> str:
    """:meth:`Kernels.choose` by those in force; ``trial(way, m)`` goes one way with the first m of ``records`` records."""
    kernels = _current.get() if records >= FEWEST_RECORDS else _FIXED
    return kernels.choose(layer, device, ways, lambda way: trial(way, min(records, TRIAL_RECORDS)))


def _machine(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return f"{device.type} {name} {torch.get_num_threads()} {torch.__version__}"


def _processor() -> str:
    return f"{torch.backends.cpu.get_cpu_capability()} {os.cpu_count()}"


def _quickest(device: torch.device, ways: Sequence[str], trial: Callable[[str], object]) -> str:
    seconds = dict.fromkeys(ways, float("inf"))
    for turn in range(1 + _TURNS):
        for way in ways:
            began = _now(device)
            # What does not fit into memory is out of the running.
            with contextlib.suppress(torch.OutOfMemoryError):
                trial(way)
                if turn:
                    seconds[way] = min(seconds[way], _now(device) - began)
    return min(ways, key=seconds.__getitem__)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _read(file: Path | None) -> dict[str, str]:
    try:
        known = json.loads(file.read_text("utf-8")) if file else {}
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: way for key, way in known.items() if isinstance(way, str)}


def _write(file: Path | None, known: dict[str, str]) -> None:
    """Add what is known to the file, whole or not at all."""
    if file is None:
        return
    with contextlib.suppress(OSError):
        replace_atomically(file, json.dumps(_read(file) | known, indent=0).encode())
