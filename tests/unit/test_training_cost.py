"""Measuring a step: with the run's own steps, on no record, each method in a process of its own."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from privlab.config import load_preset
from privlab.preflight import preflight
from privlab.training import cost

ROOT = Path(__file__).resolve().parents[2]
DIGITS = load_preset("digits").replace(training__batch_size=64)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"privacy__clipping": "adaptive"},
        {"privacy__clipping": "automatic"},
        {"privacy__bands": 4},
        {"privacy__protection": "rounded"},
        {"privacy__noise_schedule": "linear"},
        {"privacy__clip_schedule": "custom", "privacy__clip_schedule_custom": "1:1, 3:0.5"},
        {"training__optimizer": "adam-bc"},
        {"training__augmentations": 2},
        {"training__ema_decay": 0.9},
        {"encryption__mode": "pad", "encryption__owners": 3},
    ],
    ids=lambda change: "".join(change) or "plain settings",
)
@pytest.mark.parametrize("method", ["one-pass", "plain"])
def test_every_way_to_train_can_be_measured(change: dict, method: str, monkeypatch) -> None:
    monkeypatch.setattr("privlab.data.load.load", lambda key: pytest.fail("a record was read"))
    shares: list[float] = []
    monkeypatch.setattr(cost, "_MOST", 4)  # so that it does not matter how fast the machine is
    found = cost.measure(preflight(DIGITS.replace(**change)), method, 60.0, shares.append)
    assert 0 < found.low <= found.seconds <= found.high
    assert found.steps == len(shares) == 4
    assert shares[-1] == 1.0 and all(0 < share <= 1 for share in shares)
    assert found.evaluation > 0 and found.device == "CPU"


def test_the_floor_neither_clips_nor_adds_noise_and_the_others_do() -> None:
    checked = preflight(DIGITS)
    floor = cost._for_measuring(checked, "plain").plan
    assert floor.max_grad_norm is None and floor.noise_multiplier == 0
    for method in ("one-pass", "hooks", "ghost"):
        measured = cost._for_measuring(checked, method)
        assert measured.gradient_method == method
        assert measured.plan.noise_multiplier == checked.plan.noise_multiplier
        assert measured.plan.max_grad_norm == checked.plan.max_grad_norm
        assert measured.plan.batch_size == checked.plan.batch_size


def test_many_records_are_not_made_for_a_small_batch() -> None:
    large = preflight(DIGITS.replace(data__dataset="mnist", privacy__delta=1e-5))
    measured = cost._for_measuring(large, "one-pass")
    assert len(cost._random(measured, torch.device("cpu")).train_x) == measured.plan.records == 2048


def test_a_step_that_takes_longer_than_wished_is_done_once(monkeypatch) -> None:
    monkeypatch.setattr(cost, "_step", lambda trainer, clock: 5.0)
    assert cost._steps(None, time.perf_counter, 1.0, lambda share: None) == [5.0]


def job(config, methods: list[str], code: str = "", seconds: float = 0.2, **popen) -> list[dict[str, Any]]:
    """The lines of a job of ``methods``, begun with ``code`` in its process."""
    script = f"import privlab.training.costjob as job\n{code}\njob.os._exit(job.main())"
    request = {"config": config.to_dict(), "methods": methods, "threads": 1, "seconds": seconds}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True, **popen
    )
    with process:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return [json.loads(line) for line in process.stdout]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def test_hooks_keep_every_gradient_in_memory_and_one_pass_does_not() -> None:
    """512 gradients of 7,850 parameters are 16 MB."""
    config = load_preset("digits").replace(
        data__dataset="fashion-mnist-6k", model__name="logistic", training__batch_size=512
    )
    lines = job(config, ["one-pass", "plain", "hooks"])
    assert lines[-1] == {"kind": "finished"}
    found = {line["method"]: line for line in lines if line["kind"] == "cost"}
    assert found["hooks"]["memory"] > 16e6
    assert found["one-pass"]["memory"] < 12e6
    assert found["plain"]["memory"] < 12e6
    done = [line["done"] for line in lines if line["kind"] == "measuring"]
    assert done == sorted(done) and done[0] == 0 and done[-1] <= 1


FAULTS = """
import os, signal, torch
from privlab.dpsgd.guards import MechanismError
from privlab.metrics import Cost

def measure(checked, method, seconds, progress):
    if method == "one-pass":
        return torch.empty(1 << 46)
    if method == "hooks":
        os.kill(os.getpid(), signal.SIGKILL)
    if method == "ghost":
        raise MechanismError("Layer “0” has no rule.")
    if method == "odd":
        raise ValueError("odd")
    return Cost(0.1, 0.1, 0.1, 1, 3, 1.0, 0.1, "CPU")

job.measure = measure
"""


def test_a_method_that_ends_badly_ends_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as errors:
        lines = job(DIGITS, ["one-pass", "hooks", "ghost", "odd", "plain"], FAULTS, stderr=errors)
    said = {line["method"]: line["message"] for line in lines if line["kind"] == "failure"}
    assert said == {
        "one-pass": "It needs more memory than is free here.",
        "hooks": "The system ended it, most likely because memory ran out.",
        "ghost": "Layer “0” has no rule.",
        "odd": "It ended with an error, which the log “costs.log” holds.",
    }
    assert {line["method"] for line in lines if line["kind"] == "cost"} == {"plain"}
    assert lines[-1] == {"kind": "finished"}
    assert "ValueError: odd" in log.read_text()


ROUNDS = """
from privlab.metrics import Cost
turns = iter([Cost(0.3, 0.2, 0.4, 100, 3, 3.0, 0.1, "CPU"), Cost(0.1, 0.1, 0.1, 50, 3, 1.0, 0.1, "CPU")])
job._measured = lambda *_: next(turns)
"""


def test_of_two_rounds_the_quicker_counts_and_the_larger_memory() -> None:
    last = [line for line in job(DIGITS, ["one-pass"], ROUNDS, seconds=1.0) if line["kind"] == "cost"][-1]
    assert (last["seconds"], last["busy"], last["memory"]) == (0.1, 1.0, 100)


def test_settings_that_cannot_be_launched_are_refused(monkeypatch) -> None:
    lines = job(DIGITS.replace(model__name="cnn"), ["one-pass"])
    assert [line["kind"] for line in lines] == ["refused"]
    assert "at least 28×28 pixels" in lines[0]["message"]


def test_it_waits_for_another_measurement_and_ends_with_its_starter(home: Path) -> None:
    (home / "costs").mkdir()
    with (home / "costs" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        slow = DIGITS.replace(data__dataset="fashion-mnist-6k", model__name="cnn", training__batch_size=512)
        request = json.dumps({"config": slow.to_dict(), "methods": ["plain"], "threads": 1, "seconds": 600})
        with subprocess.Popen(
            [sys.executable, "-m", "privlab.training.costjob"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        ) as process:
            process.stdin.write(request + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == {"kind": "waiting"}
            fcntl.flock(lock, fcntl.LOCK_UN)
            while not json.loads(process.stdout.readline()).get("done"):
                pass
            (child,) = psutil.Process(process.pid).children()
            process.stdin.close()
            assert process.wait(30) == 0
            assert json.loads(process.stdout.read().splitlines()[-1]) == {"kind": "stopped"}
            assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
