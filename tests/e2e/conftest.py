"""The journeys' server and browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.e2e.browser import FLAGS, find
from tests.e2e.lab import ROOT, Lab, Visitor

# A slow machine is no failure: what is waited for here comes in a second on an idle one.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One server for the journeys that do not restart it."""
    running = Lab(tmp_path_factory.mktemp("home"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def fresh_lab(tmp_path: Path) -> Iterator[Lab]:
    """A server of this test's own, in which nothing was trained yet."""
    running = Lab(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="package")
def _mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    running = Lab(tmp_path_factory.mktemp("mortal"))
    yield running
    running.stop()


@pytest.fixture
def mortal_lab(_mortal: Lab) -> Lab:
    """A server for the journeys that end it and start it anew."""
    if _mortal.process is None:
        _mortal.start()
    return _mortal


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Closed after the journeys: Playwright keeps an event loop in this thread, beside which asyncio tests cannot run."""
    path = find()
    assert path, "no Chromium; run: python -m tests.e2e.browser --ensure"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def visitor(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    scheme = getattr(request, "param", "light")
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
    tab = Visitor(context.new_page())
    yield tab
    try:
        tab.check()
    finally:
        artifacts = ROOT / "tests" / "e2e" / "artifacts"
        artifacts.mkdir(exist_ok=True)
        tab.page.screenshot(path=artifacts / f"{request.node.name.replace('/', '_')}.png")
        context.close()
