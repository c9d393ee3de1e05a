"""Trainings yield as far as is said, 10 where nothing is said, and never take a priority back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = "import os; from privlab.priority import yield_to_people as y; print(y(), os.nice(0))"


def lowered(chosen: str, before: int = 0) -> subprocess.CompletedProcess[str]:
    """What a process of niceness ``before`` prints after it yielded."""
    return subprocess.run(
        ["nice", "-n", str(before - os.nice(0)), sys.executable, "-c", CODE],
        env=os.environ | {"PRIVLAB_NICE": chosen},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("chosen", "before", "after"), [("", 0, "10 10"), ("3", 0, "3 3"), ("3", 7, "3 7")])
def test_as_far_as_is_said(chosen: str, before: int, after: str) -> None:
    assert lowered(chosen, before).stdout.strip() == after


@pytest.mark.parametrize("chosen", ["20", "-1", "low"])
def test_what_is_no_niceness_is_refused(chosen: str) -> None:
    assert f"PRIVLAB_NICE='{chosen}' is refused: give a whole number from 0 to 19." in lowered(chosen).stderr
