"""How the tests are shared out when several processes run them: a file stays together, and so do all browser tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before anything loads torch: threads of several processes on the same cores wait for each other most of the time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Trainings keep what they find out of the machine in PrivLab's folder: not in that of who runs the tests.
_home = tempfile.TemporaryDirectory(prefix="privlab-tests-", ignore_cleanup_errors=True)
os.environ["PRIVLAB_HOME"] = _home.name


@pytest.fixture(scope="session", autouse=True)
def accountants_in_this_process() -> Iterator[None]:
    """Hundreds of small trainings would wait two seconds each for a process that loads the accountants."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("privlab.training.opinions.start", lambda plan: None)
        yield


_BROWSER = Path(__file__).parent / "e2e"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its group. The browser's tests come last and share one server; Playwright's event loop, too, wants a
    process in which no asyncio test follows."""
    for item in items:
        group = "browser" if _BROWSER in item.path.parents else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
