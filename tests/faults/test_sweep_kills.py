"""A sweep whose conductor is killed after every single write: no run lost, none launched twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.conducting import SPECS
from tests.faults.conftest import ROOT


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_killed_between_every_two_writes(kind: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.conducting", kind, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PRIVLAB_HOME": str(tmp_path)},
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # A trial, then each run with its link and what it came to, and the end.
    assert found["kills"] == found["writes"] >= 2 + 3 * 4 + 1
    assert found["chain"] >= found["writes"] / 2
    if kind == "grid":
        assert found["proposals"] == 1
