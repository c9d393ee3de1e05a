"""Opacus's PRV accountant in its own process: published values, and every way in which it can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from privlab.privacy import prv as module
from privlab.privacy.phases import Phase
from privlab.privacy.prv import AccountantTimeout, AccountantUnavailable, prv_epsilon
from tests.unit.test_privacy_accounting import GOLDEN

ROOT = Path(__file__).resolve().parents[2]
# ε = 8 at q = .04 (Opacus's tests): its search for σ stops within 0.01 below.
TARGETS = [(0.04, 1.34765625, 2250, 1e-5), (0.04, 1.2915, 2000, 1e-5)]


@pytest.fixture(scope="module")
def opacus() -> list[float]:
    """Opacus's value for each golden row and then each target: one process for all, for loading it takes seconds."""
    rows = [row[:4] for row in GOLDEN] + TARGETS
    code = (
        "import json, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from privlab.training.prv import upper_bound\n"
        f"print(json.dumps([upper_bound([(q, sigma, steps)], delta) for q, sigma, steps, delta in {rows!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("row", range(len(GOLDEN)))
def test_published_values(opacus, row):
    published = GOLDEN[row][5]
    assert opacus[row] == pytest.approx(published, abs=1e-8 if published == 6.77739571 else 5.1e-5)


@pytest.mark.parametrize("row", range(len(TARGETS)))
def test_published_noise_meets_its_target(opacus, row):
    assert 7.99 <= opacus[len(GOLDEN) + row] <= 8.0


def test_it_stands_a_hundredth_above_the_truth(opacus):
    for row, value in zip(GOLDEN, opacus, strict=False):
        assert row[6] <= value <= row[6] + 0.011


def test_the_process_gives_what_opacus_says_for_different_steps():
    phases = (Phase(0.04, 1.5, 1000), Phase(0.04, 1.2, 500))
    assert prv_epsilon(phases, 1e-5, limit_seconds=120) == pytest.approx(6.2217434, abs=1e-6)


def test_too_much_memory_is_told(monkeypatch):
    monkeypatch.setattr(module, "MEMORY", 2**26)
    with pytest.raises(AccountantUnavailable, match=r"more than 0\.0625 GiB of memory"):
        prv_epsilon((Phase(0.5, 0.3, 1000),), 1e-5, limit_seconds=120)


def test_too_much_time_is_told():
    with pytest.raises(AccountantTimeout, match=r"not done after 0\.2 s and was stopped"):
        prv_epsilon((Phase(0.04, 1.5, 10),), 1e-5, limit_seconds=0.2)


@pytest.mark.parametrize(
    ("program", "named"),
    [
        ("print('inf')", "no finite ε"),
        ("print('nan')", "no finite ε"),
        ("print('well')", "printed no number"),
        ("raise RuntimeError('the grid is misaligned')", "failed: RuntimeError: the grid is misaligned"),
        ("raise SystemExit(3)", "GiB of memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "GiB of memory"),
    ],
)
def test_a_failing_program_is_told_in_plain_words(monkeypatch, tmp_path, program, named):
    (tmp_path / "stand_in.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(module, "_PROGRAM", "stand_in")
    with pytest.raises(AccountantUnavailable, match=named):
        prv_epsilon((Phase(0.04, 1.5, 10),), 1e-5)


def test_no_interpreter_is_told(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(AccountantUnavailable, match="could not be started: No such file"):
        prv_epsilon((Phase(0.04, 1.5, 10),), 1e-5)


@pytest.mark.parametrize(("phases", "delta", "named"), [((), 1e-5, "empty"), ((Phase(0.1, 1, 1),), 0.0, "delta=0")])
def test_values_out_of_range(phases, delta, named):
    with pytest.raises(ValueError, match=named):
        prv_epsilon(phases, delta)
