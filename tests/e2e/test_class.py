"""A class session: a teacher begins it, two browsers join it and see each other's points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect

from privlab.runs.record import Run
from tests.e2e.lab import Lab, Visitor
from tests.e2e.steps import runs_of, until

CHART = '[data-testid="live-chart-compare"]'


@contextmanager
def profile(browser: Browser, url: str) -> Iterator[Visitor]:
    """A visitor with cookies of their own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = Visitor(context.new_page())
    tab.open(url)
    yield tab
    tab.check()
    context.close()


def say(visitor: Visitor, key: str, words: str) -> None:
    box = visitor.page.locator(f".st-key-{key} input").first
    box.fill(words)
    box.press("Tab")
    visitor.settle()


def press(visitor: Visitor, key: str) -> None:
    visitor.page.locator(f".st-key-{key} button").first.click()
    visitor.settle()


def join(visitor: Visitor, name: str) -> None:
    say(visitor, "class-name", name)
    press(visitor, "class-join-button")
    expect(visitor.page.get_by_role("heading", name=f"Launch as {name}")).to_be_visible()


def sees_points(page: Page, name: str) -> None:
    page.wait_for_function(
        "([s, n]) => (document.querySelector(s)?.data || []).some((t) => t.name?.startsWith(n) && t.x.length)",
        arg=[CHART, name],
        timeout=60_000,
    )


def launched(visitor: Visitor, lab: Lab, guess: str) -> Run:
    before = {run.id for run in runs_of(lab)}
    say(visitor, "class-guessed", guess)
    press(visitor, "class-launch-button")
    for _ in range(100):
        if fresh := [run for run in runs_of(lab) if run.id not in before]:
            return fresh[0]
        visitor.page.wait_for_timeout(100)
    raise AssertionError("nothing was launched")


def test_a_class_shares_one_board(lab: Lab, visitor: Visitor, browser: Browser) -> None:
    page = visitor.open(f"{lab.url}/class")
    press(visitor, "class-begin")
    expect(page.locator(".st-key-problem-title")).to_contain_text("0 characters; it needs 1 to 60")
    say(visitor, "class-title", "Privacy 101")
    say(visitor, "class-budget", "5")
    press(visitor, "class-begin")
    expect(page.get_by_role("heading", name="Privacy 101")).to_be_visible()
    links = page.locator(".st-key-class-teacher code")
    expect(links).to_have_count(2)
    to_join, for_projector = links.all_inner_texts()
    with (
        profile(browser, to_join) as anna,
        profile(browser, to_join) as bruno,
        profile(browser, for_projector) as room,
    ):
        join(anna, "Anna")
        say(bruno, "class-name", "anna")
        press(bruno, "class-join-button")
        expect(bruno.page.locator(".st-key-problem-name")).to_contain_text("called anna already")
        join(bruno, "Bruno")

        press(anna, "class-launch-button")
        expect(anna.page.locator(".st-key-problem-guess")).to_contain_text("The guess is empty")
        first = launched(anna, lab, "90")
        assert first.config.name == "Anna" and first.plan.target_epsilon == 3
        until(anna.page, lab, first.id, lambda run: run.step > 0)
        # Nobody reloads: the other browser, the room and the teacher see it all the same.
        for watcher in (anna, bruno, room, visitor):
            sees_points(watcher.page, "Anna 1")
        launched(bruno, lab, "80")
        sees_points(anna.page, "Bruno 1")

        done = until(anna.page, lab, first.id, lambda run: run.status.is_over)
        assert done.metrics["test_accuracy"] > 0.5
        expect(anna.page.get_by_text("Spent ε = 3 of 5")).to_be_visible(timeout=30_000)
        # Two more would cost more than the budget; the first of them already does.
        say(anna, "class-digits-privacy-target_epsilon", "4.5")
        say(anna, "class-guessed", "95")
        press(anna, "class-launch-button")
        expect(anna.page.locator(".st-key-problem-budget")).to_contain_text("your budget is ε = 5")

        press(visitor, "class-close")
        bruno.page.reload()
        bruno.settle()
        expect(bruno.page.get_by_text("This session is closed")).to_be_visible()
        sees_points(bruno.page, "Anna 1")
