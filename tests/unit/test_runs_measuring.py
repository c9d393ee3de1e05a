"""A measurement from outside: one for the same settings, stopped, refused, or ended by others."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from privlab.config import load_preset
from privlab.preflight import preflight
from privlab.runs import costs, measuring

CHECKED = preflight(load_preset("digits"))


@pytest.fixture(autouse=True)
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.setattr(measuring, "_MODULE", "tests.faults.costjob")
    monkeypatch.setattr(measuring, "_measured", {})

    def behave(fault: str) -> measuring.Measuring:
        monkeypatch.setenv("FAULT", fault)
        return measuring.start(CHECKED)

    yield behave
    measuring.stop_all()


def until(what) -> None:
    for _ in range(600):
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come")


def test_what_it_finds_is_kept_and_a_method_that_does_not_fit_is_named(job) -> None:
    found = job("")
    assert found.wait(60) and found.state == "finished"
    known = costs.known(CHECKED.config)
    assert set(known.costs) == {"one-pass", "hooks", "ghost"}
    assert known.failures == {"plain": "It needs more memory than is free here."}
    assert known.covers(CHECKED)


def test_two_who_ask_for_the_same_get_one(job) -> None:
    first = job("takes long")
    assert measuring.start(CHECKED) is first
    cheaper = preflight(CHECKED.config.replace(training__epochs=3))
    assert measuring.start(cheaper) is first, "the number of epochs changes no step"
    other = measuring.start(preflight(CHECKED.config.replace(training__batch_size=64)))
    assert other is not first
    first.stop()
    assert first.wait(10) and measuring.start(CHECKED) is not first


def test_stopped_it_ends_at_once_and_keeps_what_it_has(job) -> None:
    found = job("takes long")
    until(lambda: found.method == "hooks")
    assert found.done == 0.5 and found.state == "running"
    found.stop()
    assert found.wait(10) and (found.state, found.message) == ("stopped", "")
    known = costs.known(CHECKED.config)
    assert set(known.costs) == {"one-pass"} and not known.covers(CHECKED)


def test_a_stopped_repetition_takes_nothing_away(job) -> None:
    assert job("").wait(60)
    before = costs.known(CHECKED.config)
    again = job("takes long")
    until(lambda: again.method == "hooks")
    again.stop()
    assert again.wait(10)
    assert costs.known(CHECKED.config).costs == before.costs


def test_a_process_that_is_killed_has_failed_in_words(job) -> None:
    found = job("is killed")
    assert found.wait(60) and found.state == "failed"
    assert "ended by itself (status -9)" in found.message
    assert set(costs.known(CHECKED.config).costs) == {"one-pass"}


def test_a_process_that_cannot_begin_has_failed_and_left_its_words(job, tmp_path: Path) -> None:
    found = job("dies at once")
    assert found.wait(60) and found.state == "failed"
    assert "costs.log" in found.message
    assert "no torch here" in (tmp_path / "logs" / "costs.log").read_text()
    assert costs.known(CHECKED.config) is None


def test_what_it_refuses_is_passed_on(job) -> None:
    found = job("refuses")
    assert found.wait(60) and (found.state, found.message) == ("failed", "device=cuda is not here.")


def test_a_full_disk_is_said(job, monkeypatch) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(costs, "keep", full)
    found = job("takes long")
    assert found.wait(60) and found.state == "failed"
    assert "No space left" in found.message
