"""Jobs of the Encryption page: what they say is kept in a file, and every end has its name."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from privlab.ui.encryption import jobs
from privlab.ui.encryption.jobs import Job

_SAYS = """
import json, signal, sys, time
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
print(json.dumps({"kind": "started"}), flush=True)
if sys.argv[1] in ("refused", "failed"):
    print(json.dumps({"kind": sys.argv[1], "message": "sigma=-1 is refused."}), flush=True); sys.exit(2)
if sys.argv[1] == "fails":
    sys.exit("the disk is gone")
for step in range(1, int(sys.argv[1]) + 1):
    print(json.dumps({"kind": "point", "step": step}), flush=True)
    if stop:
        print(json.dumps({"kind": "stopped", "step": step}), flush=True); sys.exit()
    time.sleep(0.05)
print(json.dumps({"kind": "finished", "step": step}), flush=True)
"""


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))
    (tmp_path / "says.py").write_text(_SAYS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def start(what: str) -> str:
        return jobs.start("says", [what], {"title": "test", "steps": 3})

    yield start
    jobs.stop_all()


def until(job_id: str, *states: str) -> Job:
    for _ in range(600):
        job = jobs.read(job_id)
        if job.state in states:
            return job
        time.sleep(0.05)
    raise AssertionError(job)


def test_a_job_tells_its_points_and_its_end(begin):
    job = until(begin("3"), "finished")
    assert [point["step"] for point in job.points] == [1, 2, 3]
    assert job.about == {"title": "test", "steps": 3}


def test_a_job_stops_when_asked(begin):
    job_id = begin("10000")
    while not jobs.read(job_id).points:
        time.sleep(0.02)
    assert jobs.read(job_id).state == "running"
    jobs.stop(job_id)
    assert until(job_id, "stopped").points


def test_refused_and_failed_have_their_reasons(begin):
    assert until(begin("refused"), "refused").message == "sigma=-1 is refused."
    assert until(begin("failed"), "failed").message == "sigma=-1 is refused."
    assert until(begin("fails"), "failed").message == "the disk is gone"


def test_after_a_restart_an_unfinished_job_counts_as_interrupted(begin, monkeypatch):
    job_id = begin("10000")
    while not jobs.read(job_id).points:
        time.sleep(0.02)
    running = dict(jobs._running)
    monkeypatch.setattr(jobs, "_running", {})
    assert jobs.read(job_id).state == "interrupted"
    monkeypatch.setattr(jobs, "_running", running)


def test_a_half_written_line_waits_for_its_end(begin, tmp_path):
    job_id = begin("3")
    until(job_id, "finished")
    file = tmp_path / "home" / "encrypted" / job_id / "lines.jsonl"
    file.write_text(file.read_text() + '{"kind": "po')
    assert len(jobs.read(job_id).points) == 3


def test_no_job_has_a_path_for_a_name(begin):
    assert jobs.read("nothing") is None
    with pytest.raises(ValueError, match="is no job's name"):
        jobs.read("../runs")
