"""Measurements of a step's cost: a process each, outside the one that asks, and never two for the same settings."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from typing import Any

from privlab.preflight import Preflight
from privlab.runs import costs
from privlab.runs.jobs import Job
from privlab.runs.limits import threads_for

#: Seconds of measured steps for each method.
SECONDS = 0.8
_MODULE = "privlab.training.costjob"
#: Seconds that jobs have to end when the app does.
_GRACE = 5


class Measuring(Job):
    """One measurement under way or over; every session that asks for the same settings sees this one. What was measured when it is
    stopped is kept.

    Attributes:
        methods: what is measured, in this order.
        method: what is being measured now; empty until the first begins.
        done: share of the whole measurement, 0…1.
        waiting: another measurement on this machine goes first.
    """

    def __init__(self, checked: Preflight, seconds: float = SECONDS):
        self.key = costs.key(checked.config)
        self.methods, self._cannot = costs.methods_for(checked)
        self.method, self.done, self.waiting = "", 0.0, False
        # What a measurement that is stopped did not reach stays as it was.
        before = costs.known(checked.config)
        self._costs = {method: asdict(cost) for method, cost in before.costs.items()} if before else {}
        self._failures: dict[str, str] = {}
        threads = threads_for(checked.config)
        request = {
            "config": checked.config.to_dict(),
            "methods": self.methods,
            "threads": threads,
            "seconds": seconds,
        }
        given = json.dumps(request).encode() + b"\n"
        super().__init__(_MODULE, given, log="costs.log", threads=threads, name="measuring")

    def hear(self, kind: str, line: dict[str, Any]) -> None:
        self.waiting = kind == "waiting"
        match kind:
            case "measuring":
                self.method, self.done = line["method"], line["done"]
            case "cost":
                self._costs[line.pop("method")] = line
                self._keep()
            case "failure":
                self._costs.pop(line["method"], None)
                self._failures[line["method"]] = line["message"]
                self._keep()

    def _keep(self) -> None:
        costs.keep(self.key, self._costs, self._cannot | self._failures)


#: Those of this process, by the settings that they are for.
_measured: dict[str, Measuring] = {}
_lock = threading.Lock()


def start(checked: Preflight) -> Measuring:
    """Begin to measure ``checked``, unless that is under way already. Raises OSError."""
    with _lock:
        present = find(checked)
        if present is None or present.state != "running":
            present = Measuring(checked)
            _measured[present.key] = present
        return present


def find(checked: Preflight) -> Measuring | None:
    """The last measurement of ``checked`` that this process began."""
    return _measured.get(costs.key(checked.config))


def stop_all() -> None:
    """End every measurement of this process; called when the app ends."""
    for each in list(_measured.values()):
        each.stop()
    for each in list(_measured.values()):
        each.wait(_GRACE)
