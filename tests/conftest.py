"""How the tests are shared out when several processes run them: a file stays together, and so do journeys through one server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before anything loads torch: threads of several processes on the same cores wait for each other most of the time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Trainings yield to people; here they are what the journeys wait for, and other tests take all the time that is yielded.
os.environ["PRIVLAB_NICE"] = "1"

# Trainings keep what they find out of the machine in PrivLab's folder: not in that of who runs the tests.
_home = tempfile.TemporaryDirectory(prefix="privlab-tests-", ignore_cleanup_errors=True)
os.environ["PRIVLAB_HOME"] = _home.name


def pytest_unconfigure() -> None:
    _home.cleanup()


@pytest.fixture(scope="session", autouse=True)
def accountants_in_this_process() -> Iterator[None]:
    """Hundreds of small trainings would wait two seconds each for a process that loads the accountants."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("privlab.training.opinions.start", lambda plan: None)
        yield


_BROWSER = Path(__file__).parent / "e2e"


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores, at most four: journeys wait for trainings and pages much of the time."""
    return min(4, len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its group. The journeys through one server are a group; the browser's other tests, which have servers
    of their own, are another."""
    for item in items:
        group = str(item.path)
        if _BROWSER in item.path.parents:
            group = "browser, one server" if "lab" in item.fixturenames else "browser, servers of their own"
        item.add_marker(pytest.mark.xdist_group(group))
