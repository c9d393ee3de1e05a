"""`kill -9` while sealed files are saved and keys are rotated: the old file or the new one, and always a key that opens it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from tests.e2e.lab import ROOT


def run(which: str, home: Path, rounds: int, moment: random.Random) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.faults.saver", which, str(home), str(rounds), str(moment.randrange(2**32))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_200_killed_saves_leave_the_old_file_or_the_new_one(tmp_path: Path, moment: random.Random) -> None:
    found = run("saves", tmp_path, 200, moment)
    print(found)
    # The kills must have come in the middle of saves, or nothing was tried: half a file lay beside the whole one.
    assert found["rounds"] == 200 and found["halves"] >= 20


def test_killed_rotations_lose_no_file_and_are_finished_later(tmp_path: Path, moment: random.Random) -> None:
    found = run("rotations", tmp_path, 40, moment)
    print(found)
    assert found["mixed"] >= 3 and found["finished"] >= 3 and found["current"]


def test_a_rotation_beside_a_run_that_saves_loses_no_save(tmp_path: Path, moment: random.Random) -> None:
    found = run("beside", tmp_path, 20, moment)
    print(found)
    assert found["rotated"] >= 10 and found["version"] >= 20
