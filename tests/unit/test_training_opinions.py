"""Second opinions beside the training: the same from a process of their own, and there all the same where it fails."""

from __future__ import annotations

import subprocess

import pytest

from privlab.privacy.confirm import second_opinions
from privlab.privacy.plan import PrivacyPlan
from privlab.training import opinions

# As it is before tests/conftest.py puts a quicker one in its place.
from privlab.training.opinions import asked_elsewhere

PLANS = {
    "flat": PrivacyPlan(1000, 50, 40, 1.1, 1.0, 1e-5),
    "replaced": PrivacyPlan(1000, 50, 40, 1.1, 1.0, 1e-5, adjacency="replace-one"),
}


@pytest.mark.parametrize("name", PLANS)
def test_another_process_says_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opinions, "second_opinions", lambda *_, **__: pytest.fail("asked in this process"))
    assert asked_elsewhere(PLANS[name]) == second_opinions(PLANS[name], prv_seconds=0)


@pytest.mark.parametrize("said", ["", "no json"])
def test_without_that_process_they_are_asked_here(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command, **_):
        if not said:
            raise OSError("no process")
        return subprocess.CompletedProcess(command, 0, said, "")

    monkeypatch.setattr(opinions.subprocess, "run", run)
    assert asked_elsewhere(PLANS["flat"]) == second_opinions(PLANS["flat"], prv_seconds=0)
