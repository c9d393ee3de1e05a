"""A worker whose training never comes to an end: ``python -m tests.faults.stuck RUN_ID ATTEMPT preparing|batch``."""

from __future__ import annotations

import sys
import time

from privlab import paths
from privlab.runs.store import Store
from privlab.runs.worker import work
from privlab.training.events import Event


def main(run_id: str, attempt: str, where: str) -> None:
    def stuck(config, *, control, **_):
        yield Event("started", "Started.")
        if where == "batch":
            control()
        (paths.home() / "stuck").touch()
        time.sleep(600)

    work(Store(), run_id, int(attempt), train=stuck)


if __name__ == "__main__":
    main(*sys.argv[1:])
