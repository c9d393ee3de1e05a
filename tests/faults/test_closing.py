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
from privlab.runs.record import Reason, Run, Status
from tests.faults.conftest import CONFIG, Lab, check_complete

PASSPHRASE = "seven-lazy-otters-88"
SEALED = CONFIG.replace(encryption__mode="sealed", encryption__key="passphrase")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_closing_the_app_pauses_runs_at_a_checkpoint(lab: Lab, number: int) -> None:
    lab.open()
    run_id = lab.launch()
    lab.until_step(run_id, 5)
    assert lab.close_app(number) < 20
    run = lab.run(run_id)
    assert (run.status, run.reason) == (Status.PAUSED, Reason.APP_CLOSED)
    assert run.step == lab.steps(run_id)[-1] > 0
    assert lab.processes() == []
    lab.open()
    time.sleep(0.5)
    assert lab.run(run_id).status is Status.PAUSED, "a run that was paused by closing must wait for a person"
    control.resume(lab.store, run_id)
    check_complete(lab, run_id)
    assert lab.run(run_id).resumed_from == run.step


def test_pause_resume_stop_and_extend(lab: Lab) -> None:
    lab.open()
    run_id = lab.launch()
    lab.until_step(run_id, 5)
    control.pause(lab.store, run_id)
    paused = lab.until_status(run_id, Status.PAUSED, seconds=5)
    assert (paused.reason, paused.pid) == (Reason.PERSON, None)
    control.resume(lab.store, run_id)
    lab.until(lambda: lab.run(run_id).step > paused.step, "it goes on", 20)
    control.stop(lab.store, run_id)
    stopped = lab.until_status(run_id, Status.STOPPED, seconds=5)
    assert 0 < stopped.step < stopped.steps
    assert (lab.home / "runs" / run_id / "weights.safetensors").exists()
    control.extend(lab.store, run_id, 3)
    check_complete(lab, run_id, CONFIG.replace(training__epochs=CONFIG.training.epochs + 3))
    kinds = [event.kind for event in lab.store.events(run_id)]
    assert [k for k in kinds if k in ("paused", "resumed", "stopped", "extended", "finished")] == [
        "paused",
        "resumed",
        "stopped",
        "extended",
        "finished",
    ]


def test_no_more_runs_at_once_than_chosen(lab: Lab) -> None:
    lab.open()
    ids = [lab.launch() for _ in range(4)]
    most = 0
    while any(not lab.run(run_id).status.is_over for run_id in ids):
        most = max(most, sum(lab.run(run_id).status.is_active for run_id in ids))
        time.sleep(0.02)
    assert most == 2
    for run_id in ids:
        check_complete(lab, run_id)


def test_a_second_app_leaves_the_runs_to_the_first(lab: Lab) -> None:
    lab.open()
    first = lab.app
    lab.open(wait=False)
    second, lab.app = lab.app, first
    try:
        run_id = lab.launch()
        check_complete(lab, run_id)
        lab.app = second
        assert lab.ask({}) == {"ready": False, "active": False, "zygote": None}
        first.kill()
        first.wait()
        lab.until(lambda: lab.ask({})["active"], "the second app takes over", 10)
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
    waiting = lab.until_status(run_id, Status.PAUSED, Status.FAILED, seconds=20)
    assert (waiting.status, waiting.reason) == (Status.PAUSED, Reason.PASSPHRASE)
    assert "passphrase" in waiting.error.lower()
    lab.resume(run_id, PASSPHRASE)
    check_complete(lab, run_id, SEALED)


def test_an_app_that_lacks_the_passphrase_asks_for_it(lab: Lab) -> None:
    """Launched while no app was there: the passphrase died with the process that had it."""
    run = control.launch(lab.store, SEALED, passphrase=PASSPHRASE)
    lab.open()
    waiting = lab.until_status(run.id, Status.PAUSED, seconds=10)
    assert waiting.reason is Reason.PASSPHRASE


def test_a_checkpoint_that_is_gone_is_not_trained_over(lab: Lab) -> None:
    """Doing published steps again would release results twice for one ε."""
    lab.open()
    run_id = lab.launch()
    lab.until_step(run_id, 5)
    control.pause(lab.store, run_id)
    run = lab.until_status(run_id, Status.PAUSED)
    (lab.home / "runs" / run_id / "checkpoint.plab").unlink()
    control.resume(lab.store, run_id)
    failed = lab.until_status(run_id, Status.FAILED)
    assert f"Results up to step {run.step} are published, but there is no checkpoint" in failed.error


def test_a_stopped_process_is_found_by_its_silence_only_after_long(lab: Lab) -> None:
    """A worker that is merely suspended for some seconds is left alone."""
    lab.open()
    run_id = lab.launch()
    lab.until_step(run_id, 5)
    pid = lab.run(run_id).pid
    os.kill(pid, signal.SIGSTOP)
    time.sleep(4)
    assert lab.run(run_id).status is Status.RUNNING
    os.kill(pid, signal.SIGCONT)
    check_complete(lab, run_id)


def test_a_device_that_a_fork_cannot_use_gets_a_process_of_its_own(lab: Lab) -> None:
    lab.open()
    run_id = lab.launch(SEALED.replace(performance__device="cuda"), PASSPHRASE)
    run = lab.until_status(run_id, Status.FINISHED, Status.FAILED, seconds=120)
    if run.status is Status.FAILED:
        assert "device=cuda is not available on this machine" in run.error
    log = (lab.home / "logs" / f"{run_id}.log").read_text()
    assert PASSPHRASE not in log


@pytest.mark.parametrize("stuck_in", ["preparing", "batch"])
def test_a_worker_that_does_not_come_to_an_end_is_ended_when_the_app_is_gone(lab: Lab, stuck_in: str) -> None:
    run = stuck_worker(lab, stuck_in)
    lab.lock.release()
    lab.until(lambda: not lab.processes(), "no process is left", 15)
    ended = lab.run(run.id)
    assert (ended.status, ended.reason) == (Status.PAUSED, Reason.APP_GONE)


def test_a_pause_while_data_are_prepared_happens_at_once(lab: Lab) -> None:
    run = stuck_worker(lab, "preparing")
    control.pause(lab.store, run.id)
    ended = lab.until_status(run.id, Status.PAUSED, seconds=8)
    assert ended.reason is Reason.PERSON
    lab.until(lambda: not lab.processes(), "no process is left", 5)


def stuck_worker(lab: Lab, stuck_in: str) -> Run:
    """A run whose worker hangs, with this test as its app."""
    assert lab.lock.acquire()
    run = control.launch(lab.store, CONFIG)
    claimed = lab.store.claim(run.id, foreground=False)
    lab.spawn("tests.faults.stuck", run.id, str(claimed.attempt), stuck_in)
    lab.until(lambda: (lab.home / "stuck").exists(), "the worker hangs", 60)
    return claimed


def test_workers_share_one_session_and_yield(lab: Lab) -> None:
    lab.open()
    ids = [lab.launch(), lab.launch()]
    for run_id in ids:
        lab.until_step(run_id, 1)
    pids = [lab.run(run_id).pid for run_id in ids]
    zygote = lab.ask({})["zygote"]
    assert {os.getsid(pid) for pid in pids} == {zygote} != {os.getsid(lab.app.pid)}
    assert [os.getpgid(pid) for pid in pids] == pids
    assert [psutil.Process(pid).nice() for pid in pids] == [10, 10]
    assert len(list(Path(f"/proc/{zygote}/task").iterdir())) == 1, "the zygote must stay single-threaded"
    assert (
        subprocess.run(["ls", "-l", f"/proc/{pids[0]}/fd"], capture_output=True, text=True).stdout.count("socket:") == 0
    )
