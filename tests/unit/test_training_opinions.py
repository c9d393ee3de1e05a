"""Second opinions beside the training: the same from a process of their own, and there all the same where it fails."""

from __future__ import annotations

import subprocess
import sys

import pytest

from privlab.privacy.confirm import second_opinions
from privlab.privacy.plan import PrivacyPlan
from privlab.training import opinions

# As it is before tests/conftest.py lets no process start.
from privlab.training.opinions import Others, start

PLANS = {
    "flat": PrivacyPlan(1000, 50, 40, 1.1, 1.0, 1e-5),
    "replaced": PrivacyPlan(1000, 50, 40, 1.1, 1.0, 1e-5, adjacency="replace-one"),
}
SAID = {name: second_opinions(plan, prv_seconds=0) for name, plan in PLANS.items()}


@pytest.mark.parametrize("name", PLANS)
def test_another_process_says_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opinions, "start", start)
    monkeypatch.setattr(opinions, "second_opinions", lambda *_, **__: pytest.fail("asked in this process"))
    others = Others(PLANS[name])
    assert others.opinions() == SAID[name] and others.ready()
    others.close()


@pytest.mark.parametrize("program", ["raise SystemExit('broken')", "print('no json')"])
def test_where_that_process_fails_they_are_asked_here(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(plan: PrivacyPlan) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    monkeypatch.setattr(opinions, "start", broken)
    assert Others(PLANS["flat"]).opinions() == SAID["flat"]


def test_where_there_is_no_process_they_are_asked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_, **__):
        raise OSError("no more processes")

    monkeypatch.setattr(opinions, "start", start)
    monkeypatch.setattr(opinions.subprocess, "Popen", refuse)
    others = Others(PLANS["flat"])
    assert not others.ready() and others.opinions() == SAID["flat"]


def test_a_training_that_ends_early_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opinions, "start", start)
    others = Others(PLANS["flat"])
    others.close()
    assert others._process.returncode is not None
    others.close()


def test_nobody_is_asked_without_privacy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opinions, "start", lambda plan: pytest.fail("asked"))
    Others(PrivacyPlan(100, 10, 50, 0.0, 1.0, 1e-5)).close()
