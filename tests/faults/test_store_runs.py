"""Runs with encrypted stores in the whole lab: trained in the background, killed, resumed, and no server left behind."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from privlab.runs.record import Status
from tests.faults.conftest import CONFIG, Lab, check_complete

SERVER = "privlab.encryption.store.server"
RUNS = {
    "bfv": {"encryption__mode": "bfv", "encryption__owners": 2},
    "masks": {
        "encryption__mode": "pad",
        "encryption__owners": 5,
        "encryption__aggregation": "masks",
        "encryption__dropouts": 2,
        "encryption__dropout_rate": 0.2,
    },
}


def servers(worker: psutil.Process) -> list[psutil.Process]:
    return [child for child in worker.children(recursive=True) if SERVER in " ".join(child.cmdline())]


@pytest.mark.parametrize(("kind", "victim"), [("bfv", "worker"), ("masks", "server")])
def test_a_run_that_is_killed_goes_on_to_its_end(open_lab: Lab, kind: str, victim: str) -> None:
    config = CONFIG.replace(**RUNS[kind], training__epochs=15, training__curve_points=20)
    run_id = open_lab.launch(config)
    open_lab.until_step(run_id, 3)
    worker = psutil.Process(open_lab.run(run_id).pid)
    (server,) = servers(worker)
    os.kill(worker.pid if victim == "worker" else server.pid, signal.SIGKILL)
    run = open_lab.until_status(run_id, Status.FAILED, seconds=60)
    before = open_lab.steps(run_id)
    assert ("SIGKILL" if victim == "worker" else "server") in run.error
    open_lab.until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "the server ends", 20)
    open_lab.resume(run_id)
    check_complete(open_lab, run_id, config)
    assert open_lab.steps(run_id)[: len(before)] == before
    assert {"bytes_sent", "drift", "time_encrypt", "time_decrypt"} <= open_lab.run(run_id).metrics.keys()
