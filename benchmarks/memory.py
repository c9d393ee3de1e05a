"""Memory of the web process, the zygote and one worker in the middle of a run, and whether the web process has torch."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.common import arguments, machine, report
from privlab.config import load_preset
from privlab.runs import control
from privlab.runs.record import Status
from tests.e2e.lab import Lab

_MB = 1e6


def row(what: str, process: psutil.Process) -> dict:
    memory = process.memory_full_info()
    torch = any("libtorch" in item.path for item in process.memory_maps())
    return {"process": what, "resident MB": memory.rss / _MB, "private MB": memory.uss / _MB, "has torch": torch}


def main() -> None:
    given = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as home:
        lab = Lab(Path(home))
        lab.start()
        try:
            with lab.store() as store:
                run = control.launch(store, load_preset("digits").replace(training__epochs=9000))
                while not (run.status is Status.RUNNING and run.step > 1):
                    time.sleep(0.2)
                    run = store.get(run.id)
                worker = psutil.Process(run.pid)
                web = psutil.Process(lab.process.pid)
                rows = [row("web", web), row("zygote", worker.parent()), row("worker", worker)]
                control.stop(store, run.id)
        finally:
            lab.stop()
    report(given.json, "Memory while the digits preset trains", machine("streamlit", "torch"), rows)


if __name__ == "__main__":
    main()
