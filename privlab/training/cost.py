"""What one step of a run costs on this machine, measured: seconds, and memory beyond the data.

The steps are those of a run (:class:`~privlab.training.trainer.Trainer`: coin flips, gradients, clip, noise, update) on random
numbers of the data's shape, so no record is read and nothing is released. Neither time nor memory depends on the values, but for
the padding of short texts, which a run leaves out: random ones are all as long as the model reads, so of texts this is the most.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import statistics
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import perf_counter, process_time

import psutil
import torch

from privlab.config import RunConfig
from privlab.data.load import Dataset
from privlab.metrics import SUBSET, Cost
from privlab.models.catalogue import TRANSFORMERS
from privlab.models.sizes import input_shape
from privlab.preflight import Preflight
from privlab.training.device import choose_device
from privlab.training.trainer import Trainer

#: Unmeasured steps before the measured ones.
_WARM_UP = 2
#: Fewest and most measured steps; the fewest are left unmet where a single step takes longer than all should.
_FEWEST, _MOST = 3, 300
#: Rows of random data: enough that a step's records are not all in the caches from the step before.
_ROWS, _BATCHES = 2048, 4
#: More steps than are ever measured, so that schedules hardly move.
_STEPS = 1_000_000


def measure(
    checked: Preflight, method: str, seconds: float, progress: Callable[[float], None] = lambda share: None
) -> Cost:
    """Do steps of ``checked`` by ``method`` for about ``seconds``.

    Peak memory is that of the process, so each method should have a fresh one. Encryption and several owners are left out:
    they cost every method the same.

    Args:
        checked: the settings and their plan.
        method: ``one-pass``, ``hooks``, ``ghost``, or ``plain`` for SGD that neither clips nor adds noise.
        seconds: of measured steps; exceeded where three of them take longer, unless one alone does.
        progress: told the share that is done, 0…1.

    Raises:
        ConfigError: the device is not here.
        MechanismError: ``method`` cannot do this model or these settings.
        MemoryError, RuntimeError: it does not fit into memory.
    """
    checked = _for_measuring(checked, method)
    device = choose_device(checked.config.performance.device)
    data = _random(checked, device)
    # Code and pools that the first step loads are no part of what a step needs.
    Trainer(_with_batch(checked, 2), data, device).advance(False)
    before = _settled(device)
    trainer = Trainer(checked, data, device)
    clock = process_time if device.type == "cpu" and torch.get_num_threads() == 1 else perf_counter
    began, used = perf_counter(), clock()
    spent = _steps(trainer, clock, seconds, progress)
    busy = (perf_counter() - began) / max(clock() - used, 1e-9)
    memory = _peak(device, before)
    low, middle, high = statistics.quantiles(spent, n=4, method="inclusive") if len(spent) > 1 else spent * 3
    trainer.evaluate(everything=False)
    began = clock()
    trainer.evaluate(everything=False)
    evaluation = clock() - began
    return Cost(
        middle, low, high, memory, len(spent), None if clock is perf_counter else busy, evaluation, _name(device)
    )


def _for_measuring(checked: Preflight, method: str) -> Preflight:
    """``checked`` by ``method``, on as many random rows as are made, without encryption, and with steps that move nothing."""
    plan = checked.plan
    rows = min(plan.records, max(_ROWS, max(_BATCHES, plan.bands) * plan.batch_size))
    plan = replace(plan, records=rows, steps=_STEPS, planned_steps=_STEPS, owners=1, dropouts=0)
    raw = checked.config.to_dict() | {"encryption": {}}
    # Weights that grew without bound would have no finite gradients, which are quick to drop.
    raw["training"] |= {"learning_rate": 1e-6}
    if method == "plain":
        plan = replace(
            plan, clipping="none", max_grad_norm=None, noise_multiplier=0.0, adaptive=None, bands=1, rounded=False
        )
    else:
        raw["performance"] |= {"gradient_method": method}
    return replace(checked, config=RunConfig.from_dict(raw), plan=plan)


def _with_batch(checked: Preflight, size: int) -> Preflight:
    return replace(checked, plan=replace(checked.plan, batch_size=min(size, checked.plan.batch_size)))


def _random(checked: Preflight, device: torch.device) -> Dataset:
    facts, model, rows = checked.dataset, checked.model, checked.plan.records
    source = torch.Generator().manual_seed(0)
    form = TRANSFORMERS.get(model.key)
    shape = input_shape(model.key, facts.key)
    parts = []
    # As many of each user's records as a step draws.
    own = (checked.config.data.user_records,) if checked.plan.unit == "user" else ()
    for count in ((rows, *own), (min(facts.test_records, SUBSET),)):
        places = (*count, *shape)
        x = torch.randint(form.vocabulary, places, generator=source) if form else torch.rand(places, generator=source)
        asked = (form.vocabulary, places) if facts.task == "language" else (facts.classes, count)
        parts += [x.to(device), torch.randint(*asked, generator=source).to(device)]
    return Dataset(facts, *parts)


def _steps(
    trainer: Trainer, clock: Callable[[], float], seconds: float, progress: Callable[[float], None]
) -> list[float]:
    """Seconds of each measured step by ``clock``."""
    spent: list[float] = []
    for _ in range(_WARM_UP):
        first = _step(trainer, clock)
        if first > seconds:
            return [first]
    while len(spent) < _FEWEST or (sum(spent) < seconds and len(spent) < _MOST):
        spent.append(_step(trainer, clock))
        progress(min(len(spent) / _FEWEST, max(sum(spent) / seconds, len(spent) / _MOST), 1.0))
    return spent


def _step(trainer: Trainer, clock: Callable[[], float]) -> float:
    began = clock()
    trainer.advance(False)
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    elif trainer.device.type == "mps":
        torch.mps.synchronize()
    return clock() - began


def _settled(device: torch.device) -> int:
    """Bytes in use before the measured steps."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with suppress(OSError, AttributeError):
        # What the first step has freed goes back to the system, or the measured steps would take it up unseen.
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError), open("/proc/self/clear_refs", "w") as marks:
        marks.write("5")  # the peak begins anew
    return _kilobytes("RssAnon") * 1024 or psutil.Process().memory_info().rss


def _peak(device: torch.device, before: int) -> int | None:
    """Most bytes in use since :func:`_settled`, beyond ``before``."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        return None
    if peak := _kilobytes("VmHWM"):
        # Code that is read from files when it is first used is no memory of a step.
        return max(0, 1024 * (peak - _kilobytes("RssFile")) - before)
    # Elsewhere the peak is that of the process's whole life, in bytes on macOS.
    unit = 1 if platform.system() == "Darwin" else 1024
    return max(0, unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def _kilobytes(field: str) -> int:
    """A size in Linux's account of this process; 0 elsewhere."""
    try:
        with open("/proc/self/status") as status:
            return int(next(line for line in status if line.startswith(f"{field}:")).split()[1])
    except (OSError, StopIteration):
        return 0


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
