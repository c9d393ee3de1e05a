"""A report as PDF, by a Chromium that is installed here. Without one, a browser's own “save as PDF” does the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
#: Quiet, and without any network: the report is whole in itself.
_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-pdf-header-footer",
    # So long, of the page's own clock, until it is printed: its charts are drawn by then.
    "--virtual-time-budget=10000",
)
_LIMIT = 120


class PdfFailed(RuntimeError):
    """No PDF was made; the message says why and what to do instead."""


def chromium() -> str | None:
    """Path of a Chromium: ``PRIVLAB_CHROMIUM``, or one on the PATH; None if there is none."""
    named = os.environ.get("PRIVLAB_CHROMIUM")
    return named or next((found for name in _NAMES if (found := shutil.which(name))), None)


def to_pdf(page: str) -> bytes:
    """Print an HTML page. Takes some seconds.

    Raises:
        PdfFailed: there is no Chromium, or it did not print.
    """
    program = chromium()
    if program is None:
        raise PdfFailed(
            "No Chromium is installed here: open the HTML report in a browser and choose Print, Save as PDF."
        )
    # Root has no sandbox to go into; what is shown is our own file.
    rights = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with tempfile.TemporaryDirectory(prefix="privlab-pdf-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        (place / "report.html").write_text(page, encoding="utf-8")
        out = place / "report.pdf"
        own = (f"--user-data-dir={place / 'profile'}", f"--print-to-pdf={out}", (place / "report.html").as_uri())
        try:
            done = subprocess.run([program, *_FLAGS, *rights, *own], capture_output=True, timeout=_LIMIT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PdfFailed(f"{program} did not print the report: {error}.") from None
        if done.returncode or not out.exists():
            raise PdfFailed(f"{program} ended with status {done.returncode} and no PDF; print the HTML report instead.")
        return out.read_bytes()
