"""Stands in for the app: a process that runs a Dispatcher, launches what it is told to, and closes on Ctrl-C.

Reads one JSON object a line: ``{"config": …, "passphrase": …}`` launches, ``{"resume": id, "passphrase": …}`` resumes. Answers
with the run's id.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading

from privlab import preflight
from privlab.config import RunConfig
from privlab.runs import control
from privlab.runs.dispatcher import Dispatcher
from privlab.runs.store import Store

#: This machine seems to have a GPU driver, so that a run for a GPU gets as far as its own process.
preflight._CUDA_FILES = ("/dev/null",)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s app %(message)s")
    store = Store()
    dispatcher = Dispatcher(store)
    closing = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: closing.set())
    dispatcher.start()
    threading.Thread(target=serve, args=(store, dispatcher), daemon=True).start()
    closing.wait()
    dispatcher.stop()


def serve(store: Store, dispatcher: Dispatcher) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        if "config" in order:
            run = control.launch(store, RunConfig.from_dict(order["config"]), passphrase=order["passphrase"])
            answer = run.id
        elif "resume" in order:
            answer = control.resume(store, order["resume"], passphrase=order["passphrase"]).id
        else:
            answer = {"ready": dispatcher.ready, "active": dispatcher.active, "zygote": dispatcher.zygote_pid}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
