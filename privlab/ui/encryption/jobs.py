"""Encrypted trainings that the page starts: processes of their own that write JSON lines into a file.

The file is all there is to know of one, so that its address shows it after a restart too; a :class:`privlab.runs.jobs.Job` is
heard by the process that began it, and gone with it.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privlab import paths

#: Processes of this web process by job; after a restart they are unknown and their jobs count as interrupted.
_running: dict[str, subprocess.Popen] = {}
_ENDS = {"finished", "stopped", "refused", "failed"}


@dataclass(frozen=True)
class Job:
    """One job as its file says.

    Attributes:
        id: its name in the address.
        about: what it was started with.
        lines: what it has said, each with its ``kind``.
        state: ``running``, ``finished``, ``stopped``, ``refused``, ``failed`` or ``interrupted``.
        message: the reason where it was refused or failed.
        seconds: since it was started, or until it last wrote.
    """

    id: str
    about: dict[str, Any]
    lines: list[dict[str, Any]]
    state: str
    message: str
    seconds: float

    @property
    def points(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["kind"] == "point"]


def start(module: str, arguments: Sequence[str], about: dict[str, Any]) -> str:
    """Start ``python -m module arguments`` and return the job's id. Raises OSError."""
    job_id = secrets.token_hex(5)
    folder = _folder(job_id)
    folder.mkdir(parents=True, mode=0o700)
    (folder / "about.json").write_text(json.dumps(about), "utf-8")
    with (folder / "lines.jsonl").open("wb") as out, (folder / "errors.txt").open("wb") as errors:
        _running[job_id] = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            cwd=paths.SOURCE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    return job_id


def stop(job_id: str) -> None:
    """Ask the job to end after the step that is under way; harmless when it has ended."""
    process = _running.get(job_id)
    if process is not None and process.poll() is None:
        process.send_signal(signal.SIGTERM)


def stop_all() -> None:
    """End every job of this process; called when the app ends."""
    for job_id, process in list(_running.items()):
        stop(job_id)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def read(job_id: str) -> Job | None:
    """The job as it is now; None where there is no such job."""
    folder = _folder(job_id)
    if not (folder / "about.json").is_file():
        return None
    about = json.loads((folder / "about.json").read_text("utf-8"))
    file = folder / "lines.jsonl"
    # The last line may still be in writing.
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
    ended = next((line for line in lines if line["kind"] in _ENDS), None)
    process = _running.get(job_id)
    began = (folder / "about.json").stat().st_mtime
    if ended:
        return Job(job_id, about, lines, ended["kind"], ended.get("message", ""), file.stat().st_mtime - began)
    if process is not None and process.poll() is None:
        return Job(job_id, about, lines, "running", "", time.time() - began)
    if process is None:
        return Job(job_id, about, lines, "interrupted", "", file.stat().st_mtime - began)
    said = (folder / "errors.txt").read_text("utf-8", "replace").strip().splitlines()
    return Job(job_id, about, lines, "failed", said[-1] if said else "It ended without a word.", 0.0)


def _folder(job_id: str) -> Path:
    if not job_id.isalnum():
        raise ValueError(f"job={job_id!r} is no job's name.")
    return paths.home() / "encrypted" / job_id
