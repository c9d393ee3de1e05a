"""Closing and reopening the app, and what a person does to runs in mid-training, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from privlab.runs import control
from privlab.runs.limits import set_max_concurrent
from privlab.runs.record import Reason, Run, Status
from tests.faults.conftest import CONFIG, Lab, check_complete

PASSPHRASE = "seven-lazy-otters-88"
SEALED = CONFIG.replace(encryption__mode="sealed", encryption__key="passphrase")
SHORT = CONFIG.replace(training__epochs=10)
#: Long enough to be at work still when the app is closed.
LONG = CONFIG.replace(training__epochs=100)


def test_closing_the_app_pauses_runs_at_a_checkpoint(lab: Lab) -> None:
    lab.open()
    run_id = lab.launch(LONG)
    paused = closed(lab, run_id, signal.SIGINT)
    lab.open()
    # It would be queued at the first look with a warm zygote.
    time.sleep(0.2)
    assert lab.run(run_id).status is Status.PAUSED, "a run that was paused by closing must wait for a person"
    control.resume(lab.store, run_id)
    closed(lab, run_id, signal.SIGTERM)
    assert lab.run(run_id).resumed_from == paused.step


def closed(lab: Lab, run_id: str, number: int) -> Run:
    """Close the app while the run is at work; the run as it then is."""
    before = lab.run(run_id).step
    lab.until(lambda: lab.run(run_id).step > before + 2, "it is at work", 300)
    assert lab.close_app(number) < 20
    run = lab.run(run_id)
    assert (run.status, run.reason) == (Status.PAUSED, Reason.APP_CLOSED)
    assert run.step == lab.steps(run_id)[-1] > before
    assert lab.processes() == []
    return run


def test_pause_resume_stop_and_extend(open_lab: Lab) -> None:
    run_id = open_lab.launch()
    open_lab.until_step(run_id, 5)
    control.pause(open_lab.store, run_id)
    paused = open_lab.until_status(run_id, Status.PAUSED, seconds=60)
    assert (paused.reason, paused.pid) == (Reason.PERSON, None)
    control.resume(open_lab.store, run_id)
    open_lab.until(lambda: open_lab.run(run_id).step > paused.step, "it goes on", 300)
    control.stop(open_lab.store, run_id)
    stopped = open_lab.until_status(run_id, Status.STOPPED, seconds=60)
    assert 0 < stopped.step < stopped.steps
    assert (open_lab.home / "runs" / run_id / "weights.safetensors").exists()
    control.extend(open_lab.store, run_id, 3)
    check_complete(open_lab, run_id, CONFIG.replace(training__epochs=CONFIG.training.epochs + 3))
    kinds = [event.kind for event in open_lab.store.events(run_id)]
    assert [k for k in kinds if k in ("paused", "resumed", "stopped", "extended", "finished")] == [
        "paused",
        "resumed",
        "stopped",
        "extended",
        "finished",
    ]


def test_no_more_runs_at_once_than_chosen(open_lab: Lab) -> None:
    set_max_concurrent(open_lab.store, 2)
    ids = [open_lab.launch(SHORT) for _ in range(4)]
    most = 0
    while any(not open_lab.run(run_id).status.is_over for run_id in ids):
        most = max(most, sum(open_lab.run(run_id).status.is_active for run_id in ids))
        time.sleep(0.01)
    set_max_concurrent(open_lab.store, 4)
    assert most == 2
    for run_id in ids:
        check_complete(open_lab, run_id, SHORT)


def test_a_second_app_leaves_the_runs_to_the_first(lab: Lab) -> None:
    lab.open()
    first = lab.app
    lab.open(wait=False)
    second, lab.app = lab.app, first
    try:
        run_id = lab.launch(SHORT)
        check_complete(lab, run_id, SHORT)
        lab.app = second
        assert lab.ask({}) == {"ready": False, "active": False, "zygote": None}
        first.kill()
        first.wait()
        lab.until(lambda: lab.ask({})["active"], "the second app takes over", 120)
    finally:
        first.kill()
        first.wait()
        first.stdin.close()
        first.stdout.close()


def test_a_passphrase_is_nowhere_but_in_memory(lab: Lab) -> None:
    lab.open()
    run_id = lab.launch(SEALED, PASSPHRASE)
    lab.until_step(run_id, 5)
    worker = psutil.Process(lab.run(run_id).pid)
    for process in (worker, *lab.processes(), psutil.Process(lab.app.pid)):
        assert PASSPHRASE not in " ".join(process.cmdline())
        assert PASSPHRASE not in str(process.environ())
    lab.close_app()
    assert lab.run(run_id).reason is Reason.APP_CLOSED
    for file in Path(lab.home).rglob("*"):
        if file.is_file() and not file.is_socket():
            assert PASSPHRASE.encode() not in file.read_bytes(), file
    checkpoint = (lab.home / "runs" / run_id / "checkpoint.plab").read_bytes()
    assert b"safetensors" not in checkpoint and b"parameters/" not in checkpoint

    lab.open()
    with pytest.raises(control.RunActionError, match="passphrase"):
        control.resume(lab.store, run_id)
    lab.resume(run_id, "wrong")
    waiting = lab.until_status(run_id, Status.PAUSED, Status.FAILED)
    assert (waiting.status, waiting.reason) == (Status.PAUSED, Reason.PASSPHRASE)
    assert "passphrase" in waiting.error.lower()
    lab.resume(run_id, PASSPHRASE)
    check_complete(lab, run_id, SEALED)


def test_an_app_that_lacks_the_passphrase_asks_for_it(open_lab: Lab) -> None:
    """Launched by another process than the app (here by this one), which has the passphrase in its own memory only."""
    run = control.launch(open_lab.store, SEALED, passphrase=PASSPHRASE)
    waiting = open_lab.until_status(run.id, Status.PAUSED)
    assert waiting.reason is Reason.PASSPHRASE


def test_a_checkpoint_that_is_gone_is_not_trained_over(open_lab: Lab) -> None:
    """Doing published steps again would release results twice for one ε."""
    run_id = open_lab.launch()
    open_lab.until_step(run_id, 5)
    control.pause(open_lab.store, run_id)
    run = open_lab.until_status(run_id, Status.PAUSED)
    (open_lab.home / "runs" / run_id / "checkpoint.plab").unlink()
    control.resume(open_lab.store, run_id)
    failed = open_lab.until_status(run_id, Status.FAILED)
    assert f"Results up to step {run.step} are published, but there is no checkpoint" in failed.error


def test_a_stopped_process_is_found_by_its_silence_only_after_long(open_lab: Lab) -> None:
    """A worker that is merely suspended for some seconds is left alone."""
    run_id = open_lab.launch()
    open_lab.until_step(run_id, 5)
    pid = open_lab.run(run_id).pid
    os.kill(pid, signal.SIGSTOP)
    # Longer than the dispatcher needs to find a dead worker.
    time.sleep(3)
    assert open_lab.run(run_id).status is Status.RUNNING
    os.kill(pid, signal.SIGCONT)
    check_complete(open_lab, run_id)


def test_a_device_that_a_fork_cannot_use_gets_a_process_of_its_own(open_lab: Lab) -> None:
    run_id = open_lab.launch(SEALED.replace(performance__device="cuda", training__epochs=2), PASSPHRASE)
    run = open_lab.until_status(run_id, Status.FINISHED, Status.FAILED)
    if run.status is Status.FAILED:
        assert "device=cuda is not" in run.error
    log = (open_lab.home / "logs" / f"{run_id}.log").read_text()
    assert PASSPHRASE not in log


def test_workers_that_do_not_come_to_an_end_are_ended(lab: Lab) -> None:
    """With this test as their app: one is asked to pause while it prepares its data, then the app is gone for the others."""
    assert lab.lock.acquire()
    asked, preparing, in_batch = (
        stuck_worker(lab, where) for where in ("asked/preparing", "alone/preparing", "alone/batch")
    )
    for where in ("asked/preparing", "alone/preparing", "alone/batch"):
        lab.until(lambda where=where: (lab.home / where).exists(), f"the worker hangs: {where}", 300)

    control.pause(lab.store, asked.id)
    paused = lab.until_status(asked.id, Status.PAUSED, seconds=20)
    assert paused.reason is Reason.PERSON
    lab.until(lambda: len(lab.processes()) == 2, "its process is gone and no other", 20)

    lab.lock.release()
    lab.until(lab.ended, "no process is left", 15)
    for run in (preparing, in_batch):
        ended = lab.run(run.id)
        assert (ended.status, ended.reason) == (Status.PAUSED, Reason.APP_GONE)


def stuck_worker(lab: Lab, mark: str) -> Run:
    """A run whose worker hangs where the last part of ``mark`` says; it makes that file in the home folder when it does."""
    run = control.launch(lab.store, CONFIG)
    claimed = lab.store.claim(run.id, foreground=False)
    lab.spawn("tests.faults.stuck", run.id, str(claimed.attempt), mark)
    return claimed


def test_workers_share_one_session_and_yield(open_lab: Lab) -> None:
    ids = [open_lab.launch(), open_lab.launch()]
    for run_id in ids:
        open_lab.until_step(run_id, 1)
    pids = [open_lab.run(run_id).pid for run_id in ids]
    zygote = open_lab.ask({})["zygote"]
    assert {os.getsid(pid) for pid in pids} == {zygote} != {os.getsid(open_lab.app.pid)}
    assert [os.getpgid(pid) for pid in pids] == pids
    assert [psutil.Process(pid).nice() for pid in pids] == [int(os.environ["PRIVLAB_NICE"])] * 2
    assert len(list(Path(f"/proc/{zygote}/task").iterdir())) == 1, "the zygote must stay single-threaded"
    assert (
        subprocess.run(["ls", "-l", f"/proc/{pids[0]}/fd"], capture_output=True, text=True).stdout.count("socket:") == 0
    )
