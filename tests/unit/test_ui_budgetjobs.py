"""Slow accountants in the background: asked once, kept, and dropped when the question is no longer asked."""

from __future__ import annotations

import math
import threading
from concurrent.futures import wait

import pytest

from privlab.ui.budget.jobs import Jobs, Superseded, outcome


def test_the_same_question_is_worked_on_once() -> None:
    jobs, calls = Jobs("t", rest=0), []
    first = jobs.ask("a", "x", lambda: calls.append(1) or 2.0)
    assert jobs.ask("b", "x", lambda: 3.0) is first
    assert outcome_of(first) == (2.0, "")
    assert jobs.known("x") is first
    assert jobs.known("y") is None
    assert calls == [1]


def test_a_question_that_is_no_longer_asked_is_dropped_and_may_come_back() -> None:
    jobs, gate = Jobs("t", rest=0), threading.Event()
    jobs.ask("a", "blocking", lambda: gate.wait(30) and 1.0)
    passing, last = jobs.ask("a", "passing", lambda: 2.0), jobs.ask("a", "last", lambda: 3.0)
    gate.set()
    assert outcome_of(last) == (3.0, "")
    with pytest.raises(Superseded):
        passing.result(30)
    assert outcome_of(jobs.ask("a", "passing", lambda: 2.0)) == (2.0, "")


def test_a_failure_is_said_and_kept() -> None:
    def fail() -> float:
        raise RuntimeError("no memory")

    value, why = outcome_of(Jobs("t", rest=0).ask("a", "x", fail))
    assert math.isnan(value)
    assert why == "no memory"


def outcome_of(future) -> tuple[float, str]:
    wait([future], 30)
    return outcome(future)
