"""Measurements of a step's cost: a process each, outside the one that asks, and never two for the same settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import privlab
from privlab import paths
from privlab.preflight import Preflight
from privlab.runs import costs
from privlab.runs.limits import threads_for

#: Seconds of measured steps for each method.
SECONDS = 0.8
_MODULE = "privlab.training.costjob"
#: Seconds that jobs have to end when the app does.
_GRACE = 5

State = Literal["running", "finished", "stopped", "failed"]


class Measuring:
    """One measurement under way or over; every session that asks for the same settings sees this one.

    Attributes:
        methods: what is measured, in this order.
        method: what is being measured now; empty until the first begins.
        done: share of the whole measurement, 0…1.
        waiting: another measurement on this machine goes first.
        state: how it stands.
        message: why it failed, as a sentence.
    """

    def __init__(self, checked: Preflight, seconds: float = SECONDS):
        self.key = costs.key(checked.config)
        self.methods, self._cannot = costs.methods_for(checked)
        self.method, self.done, self.waiting, self.message = "", 0.0, False, ""
        self.state: State = "running"
        # What a measurement that is stopped did not reach stays as it was.
        before = costs.known(checked.config)
        self._costs = {method: asdict(cost) for method, cost in before.costs.items()} if before else {}
        self._failures: dict[str, str] = {}
        self._stopped = False
        self._over = threading.Event()
        request = {
            "config": checked.config.to_dict(),
            "methods": self.methods,
            "threads": threads_for(checked.config),
            "seconds": seconds,
        }
        with (paths.log_dir() / "costs.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=Path(privlab.__file__).parents[1],
                env=os.environ | {"OMP_NUM_THREADS": str(request["threads"])},
            )
        threading.Thread(target=self._listen, args=(request,), name="measuring", daemon=True).start()

    def stop(self) -> None:
        """Ask it to end; what was measured is kept. Harmless when it has ended."""
        self._stopped = True
        self._process.terminate()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is over; whether it is."""
        return self._over.wait(seconds)

    def _listen(self, request: dict[str, Any]) -> None:
        with self._process as process:
            try:
                with suppress(BrokenPipeError):
                    process.stdin.write(json.dumps(request).encode() + b"\n")
                    process.stdin.flush()
                for line in process.stdout:
                    # What is killed may leave half a line.
                    if line.endswith(b"\n"):
                        self._hear(json.loads(line))
                process.wait()
                if self.state == "running":
                    words = f"The measuring process ended by itself (status {process.returncode}); see costs.log in the logs."
                    self._end(*(("stopped", "") if self._stopped else ("failed", words)))
            except (OSError, ValueError) as error:
                self._end("failed", f"The measurement could not be read or kept: {error}.")
            finally:
                process.kill()
        self._over.set()

    def _hear(self, line: dict[str, Any]) -> None:
        kind = line.pop("kind")
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
            case "refused":
                self._end("failed", line["message"])
            case "finished" | "stopped":
                self._end(kind, "")

    def _keep(self) -> None:
        costs.keep(self.key, self._costs, self._cannot | self._failures)

    def _end(self, state: State, message: str) -> None:
        self.state, self.message = state, message


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
