"""The dispatcher against stand-ins for the zygote and for workers; with the real ones see tests/faults."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from privlab import paths
from privlab.config import load_preset
from privlab.preflight import preflight
from privlab.runs import control, dispatcher, link, processes
from privlab.runs.dispatcher import Dispatcher
from privlab.runs.presence import AppLock, app_is_alive
from privlab.runs.record import Reason, Run, Status
from privlab.runs.store import Store

CHECKED = preflight(load_preset("clip-only"))
#: Says that it is warm and never starts anything.
SILENT = (
    sys.executable,
    "-c",
    "import socket\ns = socket.socket(fileno=0)\ns.sendall(b'{\"ready\": true}\\n')\nwhile s.recv(9999): pass\ns.detach()",
)
BROKEN = (sys.executable, "-c", "import sys; sys.exit('ImportError: no torch here')")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.setenv("PRIVLAB_WORKERS", "2")
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    opened = Store()
    yield opened
    opened.close()


@pytest.fixture
def begin(store: Store) -> Iterator[Callable[..., Dispatcher]]:
    """Starts a dispatcher, which is stopped at the end."""
    begun: list[Dispatcher] = []

    def start(zygote=SILENT) -> Dispatcher:
        made = Dispatcher(store, zygote=zygote)
        begun.append(made)
        made.start()
        return made

    yield start
    for made in begun:
        if made._thread.is_alive():
            made.stop(timeout=0.1)


def _sleeper() -> Iterator[subprocess.Popen]:
    """A process that stands in for a worker."""
    process = subprocess.Popen(["sleep", "600"], process_group=0)
    yield process
    process.kill()
    process.wait()


sleeper = pytest.fixture(_sleeper)
other_sleeper = pytest.fixture(_sleeper)


def until(happened: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def at_work(store: Store, pid: int, started: float | None, foreground: bool = False) -> Run:
    run = store.create(CHECKED.config, CHECKED.plan)
    run = store.claim(run.id, foreground=foreground)
    return store.move(run.id, Status.RUNNING, attempt=run.attempt, pid=pid, process_started=started)


def test_what_a_dead_zygote_said_reaches_the_person(store: Store, begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_FIRST_DELAY", 0.05)
    run = control.launch(store, load_preset("clip-only"))
    made = begin(BROKEN)
    until(lambda: store.get(run.id).status is Status.FAILED, 20)
    assert store.get(run.id).error == "The process that trains cannot be started: ImportError: no torch here"
    until(lambda: made.problem)


def test_a_living_worker_is_taken_over_and_its_death_noticed(store: Store, begin, sleeper: subprocess.Popen) -> None:
    run = at_work(store, sleeper.pid, processes.start_time(sleeper.pid))
    made = begin()
    until(lambda: made.ready)
    time.sleep(1.5)
    assert store.get(run.id).status is Status.RUNNING
    sleeper.kill()
    until(lambda: store.get(run.id).status is Status.FAILED, 10)
    assert "gone without a word" in store.get(run.id).error


def test_another_process_of_the_same_number_is_no_worker(store: Store, begin, sleeper: subprocess.Popen) -> None:
    run = at_work(store, sleeper.pid, processes.start_time(sleeper.pid) - 60)
    begin()
    until(lambda: store.get(run.id).status is Status.FAILED)
    assert sleeper.poll() is None, "a stranger was killed"


def test_a_silent_worker_is_ended(
    store: Store, begin, sleeper: subprocess.Popen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "STUCK_SECONDS", 0.5)
    run = at_work(store, sleeper.pid, processes.start_time(sleeper.pid))
    begin()
    until(lambda: store.get(run.id).status is Status.FAILED)
    assert "no sign of life" in store.get(run.id).error
    assert sleeper.wait(5) == -9


def test_a_worker_that_never_comes_up_is_asked_for_again(store: Store, begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "STARTING_SECONDS", 0.3)
    run = control.launch(store, load_preset("clip-only"))
    begin()
    until(lambda: store.get(run.id).attempt >= 2)
    until(lambda: store.get(run.id).status is Status.STARTING)
    control.stop(store, run.id)
    until(lambda: store.get(run.id).status is Status.STOPPED)


def test_closing_ends_silent_workers_and_spares_those_of_a_shell(
    store: Store, begin, sleeper: subprocess.Popen, other_sleeper: subprocess.Popen
) -> None:
    silent = at_work(store, sleeper.pid, processes.start_time(sleeper.pid))
    shell = at_work(store, other_sleeper.pid, processes.start_time(other_sleeper.pid), foreground=True)
    waiting = control.launch(store, load_preset("clip-only"))
    made = begin()
    until(lambda: made.active)
    made.stop(timeout=0.3)
    assert sleeper.wait(5) == -9
    assert (store.get(silent.id).status, store.get(silent.id).reason) == (Status.PAUSED, Reason.APP_CLOSED)
    assert (store.get(shell.id).status, store.get(shell.id).requested) == (Status.RUNNING, None)
    assert store.get(waiting.id).status in (Status.QUEUED, Status.PAUSED)
    assert not app_is_alive()


def test_only_runs_whose_app_went_away_go_on_by_themselves(store: Store, begin) -> None:
    paused = {
        reason: store.move(store.create(CHECKED.config, CHECKED.plan).id, Status.PAUSED, reason=reason)
        for reason in Reason
    }
    begin()
    until(lambda: store.get(paused[Reason.APP_GONE].id).status is Status.STARTING)
    for reason in set(Reason) - {Reason.APP_GONE}:
        assert store.get(paused[reason].id).status is Status.PAUSED


def test_a_second_app_waits_for_the_first_to_end(store: Store, begin) -> None:
    first = AppLock()
    assert first.acquire()
    second = begin()
    time.sleep(0.3)
    assert not second.active
    assert app_is_alive()
    first.release()
    until(lambda: second.active)


def test_the_lock_is_not_blocked_by_workers_that_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    assert not app_is_alive()
    lock = AppLock()
    assert lock.acquire() and lock.held
    assert app_is_alive()
    assert not AppLock().acquire()
    lock.release()
    assert not app_is_alive()


def test_runs_of_another_folder_are_left_alone(
    store: Store, begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two labs on one database: each starts and buries its own runs only."""
    foreign = at_work(store, 1, 0.0)
    (paths.home() / "place").write_text("elsewhere")
    run = control.launch(store, load_preset("clip-only"))
    begin()
    until(lambda: store.get(run.id).status is Status.STARTING)
    time.sleep(1.5)
    assert store.get(foreign.id).status is Status.RUNNING


def test_a_zygote_that_dies_is_replaced(store: Store, begin) -> None:
    made = begin()
    until(lambda: made.ready)
    first = made.zygote_pid
    os.kill(first, 9)
    until(lambda: made.ready and made.zygote_pid != first)
    assert made.problem is None
