"""Running a download client (apt, npm, …) in a folder of its own, with progress taken from how the folder grows."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

#: What a source calls while it works, with the bytes that have arrived.
Report = Callable[[int], None]

#: Seconds between two looks at the folder.
_LOOK = 0.2
#: Seconds without a new byte after which a client is taken to hang.
STALL_SECONDS = 180.0

_NETWORK = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT"
    r"|could not resolve|temporary failure|could not connect|cannot initiate the connection|network is unreachable"
    r"|name or service not known|connection (refused|timed out|reset)|no address associated|urlopen error"
    r"|nodename nor servname|proxy",
    re.IGNORECASE,
)
_DISK_FULL = re.compile(r"ENOSPC|no space left|not have enough (free )?space", re.IGNORECASE)


class SourceFailed(Exception):
    """One source could not deliver. The message is a phrase in plain words."""


class DiskFull(SourceFailed):
    """The disk has no room left; no other source would help."""


def run(command: Sequence[str], folder: Path, report: Report) -> None:
    """Run a client in ``folder`` until it ends, reporting the growth of the folder in bytes.

    Raises:
        SourceFailed: the client is not installed, failed, or brought nothing for :data:`STALL_SECONDS`.
        DiskFull: it failed because the disk is full.
    """
    name = command[0]
    if shutil.which(name) is None:
        raise SourceFailed(f"{Path(name).name} is not installed")
    log = folder / "client.log"
    with log.open("wb") as output:
        # A session of its own: the client and its children can be ended together, and Ctrl-C reaches us first.
        child = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            _watch(child, folder, report)
        finally:
            _end(child)
    if child.returncode:
        raise _explain(Path(name).name, child.returncode, log.read_text("utf-8", "replace"))


def _watch(child: subprocess.Popen, folder: Path, report: Report) -> None:
    seen, since = -1, time.monotonic()
    while child.poll() is None:
        size = folder_bytes(folder)
        if size != seen:
            seen, since = size, time.monotonic()
            report(size)
        elif time.monotonic() - since > STALL_SECONDS:
            raise SourceFailed(f"nothing arrived for {STALL_SECONDS:.0f} seconds")
        time.sleep(_LOOK)
    report(folder_bytes(folder))


def _end(child: subprocess.Popen) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _explain(name: str, code: int, said: str) -> SourceFailed:
    if _DISK_FULL.search(said):
        return DiskFull("the disk is full")
    if _NETWORK.search(said):
        return SourceFailed("no network connection")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"E:|npm (error|ERR!)|\w*Error", line)]
    last = (errors or lines or ["it said nothing"])[-1]
    return SourceFailed(f"{name} ended with status {code}: {last[:200]}")


def folder_bytes(folder: Path) -> int:
    """Bytes in all files below ``folder``; files that vanish while counting are left out."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue  # a client's temporary file, renamed since the folder was listed
    return total
