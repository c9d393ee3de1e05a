"""Find a Chromium for the browser tests, or install one: ``python -m tests.e2e.browser --ensure``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

#: Quiet, offline, no GPU: a headless Chromium that talks to the tested server alone.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def find() -> str | None:
    """Path of a Chromium: ``PRIVLAB_CHROMIUM``, one on the PATH, or Playwright's own; None if there is none."""
    named = os.environ.get("PRIVLAB_CHROMIUM")
    if named:
        return named
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def ensure() -> str:
    """As :func:`find`, installing a browser where there is none. Raises RuntimeError that says how to get one by hand."""
    found = find()
    if found:
        return found
    apt = shutil.which("apt-get")
    if apt and os.geteuid() == 0:
        subprocess.run([apt, "update", "-qq"], check=False)
        subprocess.run([apt, "install", "-y", "-qq", "--no-install-recommends", "chromium"], check=False)
    if not find():
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    found = find()
    if not found:
        raise RuntimeError(
            "no Chromium found and none could be installed: install one and set PRIVLAB_CHROMIUM to its path"
        )
    return found


if __name__ == "__main__":
    print("browser:", ensure() if "--ensure" in sys.argv else find())
