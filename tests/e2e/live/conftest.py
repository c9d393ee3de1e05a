"""The harness server, and a writer that plays the worker: it appends points to the real store."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from privlab.config import RunConfig
from privlab.metrics import PHASES, Point
from privlab.privacy import PrivacyPlan
from privlab.runs.record import Run, Status
from privlab.runs.store import Store
from tests.e2e.lab import ROOT, free_port

APP = Path(__file__).parent / "harness" / "app.py"


class Harness:
    """The server under test with its store."""

    def __init__(self, home: Path):
        self.home = home
        self.port = free_port()
        self.store = Store(f"sqlite:///{home / 'runs.sqlite'}")
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "streamlit", "run", str(APP)]
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--server.port", str(self.port), "--server.headless", "true"],
                cwd=ROOT,
                env=os.environ | {"PRIVLAB_HOME": str(self.home), "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://localhost:{self.port}/_stcore/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError((self.home / "server.log").read_text())

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            finally:
                self.process.kill()
            self.process = None

    def url(self, *runs: Run | str, page: str = "lab") -> str:
        ids = ",".join(run if isinstance(run, str) else run.id for run in runs)
        return f"http://localhost:{self.port}/?runs={ids}&page={page}"

    def create(self, name: str, sigma: float = 1.1, status: Status = Status.RUNNING, steps: int = 2000) -> Run:
        """A run of 1,500 records without a worker."""
        private = sigma > 0
        config = RunConfig.from_dict(
            {"name": name, "privacy": {"clipping": "flat" if private else "none", "noise_multiplier": sigma}}
        )
        plan = PrivacyPlan(1500, 64, steps, sigma, 1.0 if private else None, 1e-5, target_epsilon=None)
        run = self.store.create(config, plan, status=Status.STARTING)
        return self.store.move(run.id, status) if status is not Status.STARTING else run

    def add(self, run: Run, *steps: int) -> None:
        for step in steps:
            self.store.append(run.id, point(run, step))


def point(run: Run, step: int) -> Point:
    """A measurement as training would give it; the same for the same step."""
    wave = math.sin(step)
    metrics = {
        "test_accuracy": 0.93 - 0.8 * math.exp(-step / 300) + 0.004 * wave,
        "test_loss": 0.3 + 2 * math.exp(-step / 300),
        "train_loss": 0.25 + 2 * math.exp(-step / 280),
        "grad_norm_p10": 0.3,
        "grad_norm_p50": 1.1 + 0.1 * wave,
        "grad_norm_p90": 3.1 + 0.2 * wave,
        "clipped_share": 0.55 + 0.02 * wave,
        "snr": 0.2 + 0.01 * wave,
        "batch_size": 64 + round(8 * wave),
        "steps_per_second": 80.0,
        **{f"time_{phase}": 0.001 * (i + 1) for i, phase in enumerate(PHASES)},
    }
    epsilon = 0.05 * math.sqrt(step) / run.plan.noise_multiplier if run.plan.is_private else None
    return Point(step, step * run.plan.sample_rate, step / 80, epsilon, metrics)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    running = Harness(tmp_path_factory.mktemp("live"))
    running.start()
    yield running
    running.stop()
    running.store.close()
