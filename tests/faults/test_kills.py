"""`kill -9` at random moments: no committed point lost, no orphan left, every run resumable to the same end.

Runs that were hit go on while the next ones are hit, and are looked at again at the end.
"""

from __future__ import annotations

import os
import random
import signal
import time

from privlab.privacy import logged_steps
from privlab.runs.record import Reason, Run, Status
from tests.faults.conftest import CONFIG, ROUNDS, Lab, check_complete

#: Long enough to be at work still when its moment comes.
LONG = CONFIG.replace(training__epochs=60)
#: Workers killed in one round.
_TOGETHER = 4


def test_a_killed_worker_is_seen_and_its_run_goes_on(open_lab: Lab, moment: random.Random) -> None:
    hit: list[str] = []
    while len(hit) < ROUNDS:
        hit += kill_workers(open_lab, [moment.uniform(0, 1.2) for _ in range(min(_TOGETHER, ROUNDS - len(hit)))])
    for run_id in hit:
        check_complete(open_lab, run_id, LONG)
        run = open_lab.run(run_id)
        assert set(open_lab.steps(run_id)) == set(logged_steps(run.steps, LONG.training.curve_points))


def kill_workers(lab: Lab, moments: list[float]) -> list[str]:
    """Start a run for each of ``moments``, kill its worker so many seconds after it began, and resume it."""
    due = {lab.launch(LONG): after for after in moments}
    killed: dict[str, list[int]] = {}

    def kill(run_id: str) -> bool:
        run = lab.run(run_id)
        if run.status is Status.RUNNING and time.time() >= run.started + due[run_id]:
            killed[run_id] = lab.steps(run_id)
            os.kill(run.pid, signal.SIGKILL)
        return run_id in killed

    lab.until(lambda: all([run_id in killed or kill(run_id) for run_id in due]), "every worker is killed", 600)
    for run_id, before in killed.items():
        lab.until(lambda run_id=run_id: lab.run(run_id).status is Status.FAILED, "the death is noticed", 60)
        run = lab.run(run_id)
        assert "killed by signal 9 (SIGKILL)" in run.error
        assert f"step {run.step} or later" in run.error
        assert lab.steps(run_id)[: len(before)] == before
        lab.resume(run_id)
    return list(due)


def test_a_killed_zygote_is_replaced_and_nobody_notices(open_lab: Lab, moment: random.Random) -> None:
    begun = [kill_the_zygote(open_lab, moment.uniform(0, 1.0)) for _ in range(ROUNDS)]
    for run_id in begun:
        check_complete(open_lab, run_id)
        assert not [event for event in open_lab.store.events(run_id) if event.kind == "failed"]


def kill_the_zygote(lab: Lab, after: float) -> str:
    run_id = lab.launch()
    time.sleep(after)
    zygote = lab.ask({})["zygote"]
    os.kill(zygote, signal.SIGKILL)

    def replaced() -> bool:
        answer = lab.ask({})
        return answer["ready"] and answer["zygote"] != zygote

    lab.until(replaced, "a new zygote is warm", 300)
    return run_id


def test_a_killed_app_leaves_no_orphan_and_loses_nothing(open_lab: Lab, moment: random.Random) -> None:
    """Every other time the app is back at once and finds its workers at work; else after they have given up."""
    begun: list[str] = []
    for number in range(ROUNDS):
        while sum(not open_lab.run(run_id).status.is_over for run_id in begun) < 2:
            begun.append(open_lab.launch(LONG))
        kill_the_app(open_lab, begun, moment.uniform(0, 1.5), back_at_once=number % 2 == 1)
    for run_id in begun:
        check_complete(open_lab, run_id, LONG)
        assert not [event for event in open_lab.store.events(run_id) if event.kind == "failed"]


def kill_the_app(lab: Lab, begun: list[str], after: float, back_at_once: bool) -> None:
    def at_work() -> list[Run]:
        return [run for run in map(lab.run, begun) if run.status is Status.RUNNING]

    lab.until(at_work, "a run is at work", 300)
    time.sleep(after)
    before, working = {run_id: lab.steps(run_id) for run_id in begun}, at_work()
    lab.kill_app()
    if not back_at_once:
        # A worker that gives up still waits for Opacus's own accountant, which may take 30 s.
        lab.until(lab.ended, "no process is left", 45)
        for run in map(lab.run, begun):
            assert run.status in (Status.PAUSED, Status.QUEUED, Status.STARTING, Status.FINISHED)
            assert run.reason in (Reason.APP_GONE, None)
    killed = time.monotonic()
    lab.open(wait=False)
    lab.until(lambda: lab.ask({})["active"], "the app is back", 120)
    # On a machine so busy that the app was long in coming back, workers have rightly given up.
    if back_at_once and time.monotonic() - killed < 4:
        for run in working:
            now = lab.run(run.id)
            assert now.attempt == run.attempt, "the worker was not taken over"
            assert now.pid == run.pid or now.status is Status.FINISHED
    for run_id, steps in before.items():
        assert lab.steps(run_id)[: len(steps)] == steps


def test_all_at_once(open_lab: Lab) -> None:
    """The machine goes down: app, zygote and worker die in the same instant."""
    run_id = open_lab.launch()
    open_lab.until_step(run_id, 5)
    victims = [open_lab.app.pid, open_lab.ask({})["zygote"], open_lab.run(run_id).pid]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    open_lab.kill_app()
    before = open_lab.steps(run_id)
    open_lab.open(wait=False)
    run = open_lab.until_status(run_id, Status.FAILED, seconds=60)
    assert "gone without a word" in run.error
    open_lab.resume(run_id)
    check_complete(open_lab, run_id)
    assert open_lab.steps(run_id)[: len(before)] == before
