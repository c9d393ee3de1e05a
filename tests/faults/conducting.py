"""A small process without threads that forks conductors which die after a given write; stdout says what was found.

Each child drives one sweep and, in place of workers, brings its queued runs to their end. Only the conductor's own writes are
counted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from privlab.runs.store import Store
from privlab.runs.sweeprecord import SweepState
from privlab.sweeps import control
from privlab.sweeps.conductor import Conductor, launch_key
from privlab.sweeps.results import standing
from tests.sweeping import finish_all, spec

#: What is driven: a grid with seeds, and a search that asks results.
SPECS: dict[str, dict[str, Any]] = {
    "grid": {"seeds": 2, "at_once": 2, "space": {"privacy.max_grad_norm": [0.2, 1.0]}},
    "guided": {
        "method": "tpe",
        "trials": 2,
        "space": {"privacy.noise_multiplier": {"low": 1.0, "high": 8.0}},
        "seeds": 2,
        "at_once": 2,
    },
}


class Mortal(Store):
    """A store whose process is killed right after so many transactions of the conductor."""

    left: int | None = None
    counting = False

    @contextmanager
    def _write(self) -> Iterator[Any]:
        with super()._write() as connection:
            yield connection
        if self.counting and self.left is not None:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def drive(home: Path, sweep_id: str, writes: int | None) -> bool:
    """Drive the sweep in a child that is killed after ``writes`` of its writes (None: never). Whether it was killed."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
        return os.WIFSIGNALED(status)
    code = 1
    try:
        store = Mortal()
        store.left = writes
        conductor = Conductor(store, lambda: True)
        while store.sweep(sweep_id).state is SweepState.RUNNING:
            store.counting = True
            conductor.look()
            store.counting = False
            finish_all(store, sweep_id, lambda run: 1 / (1 + run.config.privacy.noise_multiplier))
        code = 0
    finally:
        os._exit(code)


def check(store: Store, sweep_id: str) -> int:
    """Every trial has a run for each seed, no run is there twice, none is left out; how many there are."""
    now = standing(store, sweep_id)
    assert now.sweep.state is SweepState.FINISHED, now.sweep
    runs = store.list(group=sweep_id, deleted=None)
    linked = [result.kept.run_id for _, result in now.results]
    assert sorted(linked) == sorted(run.id for run in runs), (linked, runs)
    told = {(row.trial.number, result.kept.seed) for row, result in now.results}
    assert len(told) == len(runs) == 4, (told, len(runs))
    for row, result in now.results:
        config = now.spec.candidate(row.trial.values, result.kept.seed)
        assert result.run.config == config
        again = store.create(
            config, result.run.plan, launch_key=launch_key(sweep_id, row.trial.number, result.kept.seed)
        )
        assert again.id == result.run.id
    assert [row.state for row in now.rows] == ["done"] * 2, now.rows
    return len(runs)


def main(kind: str, folder: Path) -> dict[str, Any]:
    """Kill once after each write there is, and then one conductor after the other after its second write. (The first may be
    the launch that the one before did not live to note, done again without effect.)"""
    warm(folder / "warm", kind)
    kills, writes = 0, 0
    proposed = set()
    while True:
        writes += 1
        sweep_id, store = fresh(folder / str(writes), kind)
        killed = drive(folder, sweep_id, writes)
        if killed:
            kills += 1
            assert not drive(folder, sweep_id, None)
        check(store, sweep_id)
        proposed.add(json.dumps([trial.values for trial in store.trials(sweep_id)]))
        store.close()
        if not killed:
            break
    sweep_id, store = fresh(folder / "chain", kind)
    chain = 0
    while drive(folder, sweep_id, 2):
        chain += 1
        assert chain < 10 * writes
    check(store, sweep_id)
    return {"writes": writes - 1, "kills": kills, "chain": chain, "proposals": len(proposed)}


def warm(home: Path, kind: str) -> None:
    """Load here what each child would otherwise load again, by driving a sweep to its end."""
    sweep_id, store = fresh(home, kind)
    while store.sweep(sweep_id).state is SweepState.RUNNING:
        Conductor(store, lambda: True).look()
        finish_all(store, sweep_id, lambda run: 0.5)
    store.close()


def fresh(home: Path, kind: str) -> tuple[str, Store]:
    home.mkdir()
    os.environ["PRIVLAB_HOME"] = str(home)
    store = Store()
    sweep = control.create(store, spec(**SPECS[kind]))
    # Connections must not be shared with children.
    store.close()
    return sweep.id, store


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
