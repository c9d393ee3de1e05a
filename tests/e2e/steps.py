"""What people do again and again in the browser tests."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from privlab.runs.record import Run
from tests.e2e.lab import Lab, Visitor


def runs_of(lab: Lab) -> list[Run]:
    with lab.store() as store:
        return store.list()


def until(page: Page, lab: Lab, run_id: str, what) -> Run:
    """Wait up to five minutes until ``what(run)`` holds in the store."""
    with lab.store() as store:
        for _ in range(3000):
            run = store.get(run_id)
            if what(run):
                return run
            page.wait_for_timeout(100)
    raise AssertionError(f"{run.status} at step {run.step}, error {run.error}")


def fill(page: Page, path: str, value: object) -> None:
    """Type into the number field of setting ``path`` and leave it."""
    box = page.locator(f".st-key-{path.replace('.', '-')} input")
    box.fill(str(value))
    box.press("Tab")


def preset(visitor: Visitor, key: str) -> None:
    card = visitor.page.locator(f".st-key-preset-{key} button").first
    card.click()
    expect(card).to_contain_text("✓")
    visitor.settle()


def launch(visitor: Visitor, lab: Lab, button: str = "launch") -> list[Run]:
    """Press Launch; the runs that came of it, newest first."""
    before = {run.id for run in runs_of(lab)}
    visitor.page.locator(f".st-key-{button} button").first.click()
    for _ in range(100):
        fresh = [run for run in runs_of(lab) if run.id not in before]
        if fresh:
            visitor.settle()
            return [run for run in runs_of(lab) if run.id not in before]
        visitor.page.wait_for_timeout(100)
    raise AssertionError("nothing was launched")
