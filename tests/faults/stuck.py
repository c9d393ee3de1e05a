"""A worker whose training never comes to an end: ``python -m tests.faults.stuck RUN_ID ATTEMPT MARK``.

It hangs in a batch if the file name of MARK is ``batch``, else before the first one, and makes the file MARK then.
"""

from __future__ import annotations

import sys
import time

from privlab import paths
from privlab.runs.store import Store
from privlab.runs.worker import work
from privlab.training.events import Event


def main(run_id: str, attempt: str, mark: str) -> None:
    place = paths.home() / mark

    def stuck(config, *, control, **_):
        yield Event("started", "Started.")
        if place.name == "batch":
            control()
        place.parent.mkdir(exist_ok=True)
        place.touch()
        time.sleep(600)

    work(Store(), run_id, int(attempt), train=stuck)


if __name__ == "__main__":
    main(*sys.argv[1:])
