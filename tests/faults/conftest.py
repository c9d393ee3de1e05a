"""A lab of its own for each test: a home folder, an app process that can be killed, and the store to look into."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from privlab.config import RunConfig, load_preset
from privlab.privacy import epsilon_curve
from privlab.runs import control
from privlab.runs.presence import AppLock
from privlab.runs.record import Run, Status
from privlab.runs.store import Store

ROOT = Path(__file__).resolve().parents[2]
#: Kills of each kind. The long form is 20 (`PRIVLAB_FAULT_ROUNDS=20`).
ROUNDS = int(os.environ.get("PRIVLAB_FAULT_ROUNDS", "3"))

#: Some seconds of real private training with a checkpoint and a point at every few steps.
CONFIG = load_preset("digits").replace(
    model__name="logistic", privacy__noise_multiplier=2.0, training__epochs=40, training__curve_points=100
)


class Lab:
    """One PRIVLAB_HOME with at most one app."""

    def __init__(self, home: Path):
        self.home = home
        self.store = Store()
        self.app: subprocess.Popen | None = None
        #: For tests that are the app themselves.
        self.lock = AppLock()
        self._spawned: list[subprocess.Popen] = []

    # The app

    def open(self, wait: bool = True) -> None:
        with open(self.home / "app.log", "ab") as log:
            self.app = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.app"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        if wait:
            self.until_warm()

    def until_warm(self) -> None:
        self.until(lambda: self.ask({})["ready"], "the zygote is warm", 300)

    def ask(self, order: dict):
        self.app.stdin.write(json.dumps(order) + "\n")
        self.app.stdin.flush()
        answer = self.app.stdout.readline()
        assert answer, f"the app answered nothing; its log:\n{(self.home / 'app.log').read_text()[-3000:]}"
        return json.loads(answer)

    def launch(self, config: RunConfig = CONFIG, passphrase: str | None = None) -> str:
        return self.ask({"config": config.to_dict(), "passphrase": passphrase})

    def resume(self, run_id: str, passphrase: str | None = None) -> None:
        self.ask({"resume": run_id, "passphrase": passphrase})

    def kill_app(self) -> None:
        self.app.kill()
        self._reap()

    def close_app(self, number: int = signal.SIGINT) -> float:
        """Close it as Ctrl-C does; returns the seconds that took."""
        began = time.monotonic()
        self.app.send_signal(number)
        self.app.wait(40)
        self._reap()
        return time.monotonic() - began

    def _reap(self) -> None:
        self.app.wait(10)
        self.app.stdin.close()
        self.app.stdout.close()
        self.app = None

    def spawn(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", module, *arguments]
        self._spawned.append(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL))

    # What is there

    def run(self, run_id: str) -> Run:
        return self.store.get(run_id)

    def steps(self, run_id: str) -> list[int]:
        return [point.step for point in self.store.points(run_id)]

    def processes(self) -> list[psutil.Process]:
        """Every living process of this lab but the app, found by the home folder in its environment."""
        found = []
        for process in psutil.process_iter(["pid"]):
            try:
                ours = process.environ().get("PRIVLAB_HOME") == str(self.home)
                alive = process.status() != psutil.STATUS_ZOMBIE
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            if ours and alive and process.pid not in (os.getpid(), self.app and self.app.pid):
                found.append(process)
        return found

    def until(self, happened: Callable[[], object], what: str, seconds: float) -> float:
        """Wait; returns how long it took."""
        began = time.monotonic()
        while not happened():
            if time.monotonic() - began > seconds:
                logs = "\n".join(f"--- {p.name}\n{p.read_text()[-2000:]}" for p in self.home.glob("**/*.log"))
                runs = "\n".join(f"{r.id} {r.status} step {r.step}/{r.steps} {r.error}" for r in self.store.list())
                pytest.fail(f"after {seconds} s still not: {what}\n{runs}\n{logs}")
            time.sleep(0.02)
        return time.monotonic() - began

    def ended(self) -> bool:
        """Whether no process is left; a look at every process of the machine, so not to be asked too often."""
        time.sleep(0.1)
        return not self.processes()

    def until_status(self, run_id: str, *wanted: Status, seconds: float = 300) -> Run:
        self.until(lambda: self.run(run_id).status in wanted, f"run is {' or '.join(wanted)}", seconds)
        return self.run(run_id)

    def until_step(self, run_id: str, step: int) -> None:
        self.until(lambda: self.run(run_id).step >= step, f"step {step} is published", 300)

    def close(self) -> None:
        if self.app is not None:
            self.kill_app()
        for process in self.processes():
            process.kill()
        for spawned in self._spawned:
            spawned.wait(10)
        self.lock.release()
        self.store.close()


def _enter(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVLAB_HOME", str(home))
    monkeypatch.setenv("PRIVLAB_WORKERS", "4")
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab of the test's own, closed."""
    _enter(tmp_path, monkeypatch)
    made = Lab(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as monkeypatch:
        _enter(home, monkeypatch)
        made = Lab(home)
    yield made
    made.close()


@pytest.fixture
def open_lab(_shared: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab that the tests share, its app up and warm: a zygote takes seconds to warm."""
    _enter(_shared.home, monkeypatch)
    if _shared.app is None:
        _shared.open(wait=False)
    _shared.until_warm()
    yield _shared
    for run in _shared.store.list(status=[Status.QUEUED, Status.STARTING, Status.RUNNING, Status.PAUSED]):
        control.delete(_shared.store, run.id)


@pytest.fixture
def moment() -> random.Random:
    """Random moments, another set at each run; the seed is in the output of a failure."""
    seed = int(os.environ.get("PRIVLAB_FAULT_SEED", random.SystemRandom().randrange(2**32)))
    print(f"PRIVLAB_FAULT_SEED={seed}")
    return random.Random(seed)


def check_complete(lab: Lab, run_id: str, config: RunConfig = CONFIG) -> None:
    """The run ended as one that nothing happened to: all steps, each ε as planned."""
    run = lab.until_status(run_id, Status.FINISHED, Status.FAILED, seconds=600)
    assert run.status is Status.FINISHED, run.error
    assert run.config == config
    assert run.step == run.steps == run.plan.steps
    points = lab.store.points(run_id)
    assert points[-1].step == run.steps
    expected = epsilon_curve(run.plan, [point.step for point in points])
    assert [point.epsilon for point in points] == pytest.approx(list(expected), abs=1e-3)
    assert run.epsilon == points[-1].epsilon
