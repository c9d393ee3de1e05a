"""A real server with its own PRIVLAB_HOME, and a browser tab that reports everything odd. For journeys and benchmarks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from privlab.runs.store import Store

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_MS = 30_000


class Lab:
    """The app under test, started as a person starts it."""

    def __init__(self, home: Path):
        self.home = home
        self.port = free_port()
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "streamlit", "run", "app.py"]
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--server.port", str(self.port), "--server.headless", "true"],
                cwd=ROOT,
                env=os.environ | {"PRIVLAB_HOME": str(self.home)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError((self.home / "server.log").read_text())

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The app's store, as a process of the same folder opens it."""
        before = os.environ.get("PRIVLAB_HOME")
        os.environ["PRIVLAB_HOME"] = str(self.home)
        store = Store()
        try:
            yield store
        finally:
            store.close()
            if before is None:
                del os.environ["PRIVLAB_HOME"]
            else:
                os.environ["PRIVLAB_HOME"] = before

    def interrupt(self) -> None:
        """Ctrl-C, and wait until the app has ended."""
        assert self.process
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.process = None

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def stop(self) -> None:
        if self.process:
            self.interrupt()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Visitor:
    """A browser tab. Page errors, exception boxes and requests to other hosts are collected and fail the test."""

    def __init__(self, page: Page):
        self.page = page
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._note)

    def _note(self, request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("localhost", "127.0.0.1"):
            self.foreign.append(request.url)

    def open(self, url: str) -> Page:
        self.page.goto(url)
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until the session is connected and no script runs."""
        # What was just pressed needs a moment to reach the server.
        self.page.wait_for_timeout(200)
        app = self.page.get_by_test_id("stApp")
        expect(app).to_have_attribute("data-test-connection-state", "CONNECTED", timeout=PATIENCE_MS)
        expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=PATIENCE_MS)

    def check(self) -> None:
        assert not self.errors, self.errors
        assert not self.foreign, f"requests to other hosts: {self.foreign}"
        expect(self.page.get_by_test_id("stException")).to_have_count(0)
