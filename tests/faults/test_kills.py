"""`kill -9` at random moments: no committed point lost, no orphan left, every run resumable to the same end."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from privlab.privacy import logged_steps
from privlab.runs.record import Reason, Status
from tests.faults.conftest import CONFIG, ROUNDS, Lab, check_complete


def test_a_killed_worker_is_seen_and_its_run_goes_on(lab: Lab, moment: random.Random) -> None:
    lab.open()
    for _ in range(ROUNDS):
        kill_a_worker(lab, moment.uniform(0, 1.5))


def kill_a_worker(lab: Lab, after: float) -> None:
    run_id = lab.launch()
    lab.until_status(run_id, Status.RUNNING)
    time.sleep(after)
    before = lab.steps(run_id)
    os.kill(lab.run(run_id).pid, signal.SIGKILL)
    lab.until(lambda: lab.run(run_id).status is Status.FAILED, "the death is noticed", 10)
    run = lab.run(run_id)
    assert "killed by signal 9 (SIGKILL)" in run.error
    assert f"step {run.step} or later" in run.error
    assert lab.steps(run_id)[: len(before)] == before
    lab.resume(run_id)
    check_complete(lab, run_id)
    assert set(lab.steps(run_id)) == set(logged_steps(run.steps, CONFIG.training.curve_points))


def test_a_killed_zygote_is_replaced_and_nobody_notices(lab: Lab, moment: random.Random) -> None:
    lab.open()
    for _ in range(ROUNDS):
        kill_the_zygote(lab, moment.uniform(0, 1.0))


def kill_the_zygote(lab: Lab, after: float) -> None:
    run_id = lab.launch()
    time.sleep(after)
    zygote = lab.ask({})["zygote"]
    os.kill(zygote, signal.SIGKILL)
    check_complete(lab, run_id)
    assert not [event for event in lab.store.events(run_id) if event.kind == "failed"]
    lab.until(lambda: lab.ask({})["ready"] and lab.ask({})["zygote"] != zygote, "a new zygote is warm", 60)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_killed_app_leaves_no_orphan_and_loses_nothing(lab: Lab, moment: random.Random, number: int) -> None:
    """Every other time the app is back at once and finds its workers at work; else after they have given up."""
    lab.open()
    config = CONFIG.replace(training__epochs=120 if number % 2 else 60)
    first, second = lab.launch(config), lab.launch(config)
    lab.until_status(first, Status.RUNNING)
    time.sleep(moment.uniform(0, 1.5))
    before = {run_id: lab.steps(run_id) for run_id in (first, second)}
    pid = lab.run(first).pid
    lab.kill_app()
    if number % 2:
        lab.open()
        if not lab.run(first).status.is_over:
            assert lab.run(first).pid == pid, "the worker was not taken over"
    else:
        lab.until(lambda: not lab.processes(), "no process is left", 15)
        for run_id in (first, second):
            run = lab.run(run_id)
            assert run.status in (Status.PAUSED, Status.QUEUED, Status.STARTING, Status.FINISHED)
            assert run.reason in (Reason.APP_GONE, None)
        lab.open()
    for run_id, steps in before.items():
        check_complete(lab, run_id, config)
        assert lab.steps(run_id)[: len(steps)] == steps


def test_all_at_once(lab: Lab) -> None:
    """The machine goes down: app, zygote and worker die in the same instant."""
    lab.open()
    run_id = lab.launch()
    lab.until_step(run_id, 5)
    victims = [lab.app.pid, lab.ask({})["zygote"], lab.run(run_id).pid]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    lab.kill_app()
    before = lab.steps(run_id)
    lab.open()
    run = lab.until_status(run_id, Status.FAILED, seconds=10)
    assert "gone without a word" in run.error
    lab.resume(run_id)
    check_complete(lab, run_id)
    assert lab.steps(run_id)[: len(before)] == before
