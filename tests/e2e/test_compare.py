"""Comparing in the browser: a view is found, its link shows the same to somebody else, and what many runs lose comes back."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from privlab.config import load_preset
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.runs.record import Run, Status
from tests.e2e.lab import Lab, Visitor

FIGURE = '[data-testid="pareto-figure"]'


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, list[Run]]]:
    """A server with nine runs in its store, which are still there after each test."""
    lab = Lab(tmp_path_factory.mktemp("compare"))
    runs = made(lab)
    lab.start()
    yield lab, runs
    lab.stop()


def made(lab: Lab) -> list[Run]:
    """Three clipping bounds with three seeds each, as workers would have left them; the test's own numbers."""
    runs = []
    with lab.store() as store:
        for place, norm in enumerate((0.1, 0.2, 0.4)):
            for seed in range(3):
                config = load_preset("digits").replace(
                    name=f"C {norm:g}",
                    training__seed=seed,
                    privacy__max_grad_norm=norm,
                    privacy__target_epsilon=1.0 + place,
                )
                run = store.create(config, preflight(config).plan)
                store.append_all(run.id, [
                    Point(step, step, step, (1 + place) * step / 40, {"test_accuracy": 0.6 + 0.1 * place + 0.004 * seed + 0.002 * step})
                    for step in range(1, 41)
                ])  # fmt: skip
                for status in (Status.STARTING, Status.RUNNING, Status.FINISHED):
                    store.move(run.id, status)
                runs.append(store.get(run.id))
    return runs


def address(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def drag(page: Page, by: int) -> None:
    """Drag the upright line of the front by ``by`` pixels, well above the level one."""
    page.wait_for_function("(s) => document.querySelector(s)?._fullLayout?.shapes?.length === 2", arg=FIGURE)
    page.locator(FIGURE).scroll_into_view_if_needed()
    x, y = page.evaluate(
        """(s) => {
          const plot = document.querySelector(s), { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
          const shape = plot.layout.shapes.find((one) => one.yref === "paper");
          return [box.x + xaxis._offset + xaxis.d2p(shape.x0), box.y + yaxis._offset + yaxis._length / 5];
        }""",
        FIGURE,
    )
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=8)
    page.mouse.up()


def test_a_view_is_found_and_its_link_shows_the_same(
    filled: tuple[Lab, list[Run]], visitor: Visitor, browser: Browser
) -> None:
    lab, _ = filled
    page = visitor.open(f"{lab.url}/compare")
    expect(page.get_by_text("9 runs · tick rows")).to_be_visible()
    field = page.locator(".st-key-filter-text input")
    field.fill("digits C>=0.2")
    field.press("Enter")
    expect(page.get_by_text("6 of 9 runs")).to_be_visible()
    page.locator(".st-key-compare-grouped label").first.click()
    visitor.settle()
    page.get_by_role("radio", name="Pareto front").click()
    expect(page.get_by_text(re.compile(r"With ε ≤"))).to_be_visible()
    visitor.settle()
    drag(page, 60)
    page.wait_for_function("() => location.search.includes('eps=')")
    visitor.settle()
    there = address(page)
    assert there["q"] == "digits C>=0.2" and there["group"] == "seed" and there["view"] == "pareto"
    # The middle of ε = 2 and 3 in the logarithm, and to the right of it.
    assert float(there["eps"]) > 6**0.5 * 1.01
    expect(page.locator(".st-key-compare-eps input")).to_have_value(re.compile(re.escape(there["eps"][:4])))
    straight = page.evaluate(
        "(s) => document.querySelector(s).layout.shapes.every((o) => o.yref === 'paper' ? o.x0 === o.x1 : o.y0 === o.y1)",
        FIGURE,
    )
    assert straight
    page.locator(".st-key-choose-best button").first.click()
    visitor.settle()
    assert len(address(page)["runs"].split(",")) == 3

    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    other = Visitor(context.new_page())
    try:
        second = other.open(page.url)
        assert address(second) == address(page)
        assert differing(shot(page, visitor), shot(second, other)) < 0.002
        other.check()
    finally:
        context.close()


def shot(page: Page, visitor: Visitor) -> np.ndarray:
    """The page from its top, without a pointer, focus or hover on anything."""
    page.wait_for_function("(s) => document.querySelector(s)?._fullLayout?.shapes?.length === 2", arg=FIGURE)
    visitor.settle()
    page.mouse.move(3, 3)
    page.evaluate(
        "() => { document.activeElement?.blur(); document.querySelector('[data-testid=stMain]').scrollTo(0, 0); }"
    )
    page.set_viewport_size({"width": 1440, "height": 1300})
    page.wait_for_timeout(1500)
    # The tools of a chart fade in and out by themselves.
    masks = [
        page.locator(".modebar-container"),
        page.get_by_test_id("stToolbar"),
        page.get_by_test_id("stElementToolbar"),
    ]
    raw = page.screenshot(mask=masks, animations="disabled", caret="hide")
    return np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"), dtype=int)


def differing(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the pixels that differ visibly."""
    assert a.shape == b.shape
    return float((np.abs(a - b).max(axis=2) > 40).mean())


@pytest.mark.parametrize("visitor", ["light", "dark"], indirect=True)
def test_many_runs_are_deleted_and_brought_back(filled: tuple[Lab, list[Run]], visitor: Visitor) -> None:
    lab, runs = filled
    page = visitor.open(f"{lab.url}/compare?q=C:0.1&runs={runs[0].id},nosuchrun")
    expect(page.get_by_text("Not here, perhaps deleted: nosuchrun")).to_be_visible()
    page.get_by_role("radio", name="All shown (3)").click()
    visitor.settle()
    page.get_by_role("button", name="Delete").first.click()
    page.locator(".st-key-bulk-delete button").first.click()
    expect(page.locator(".st-key-bulk-deleted").get_by_text("3 runs are deleted")).to_be_visible()
    with lab.store() as store:
        assert len(store.list()) == 6
    page.locator(".st-key-bulk-undo button").first.click()
    expect(page.get_by_text("3 of 9 runs · 1 chosen")).to_be_visible()
    with lab.store() as store:
        assert len(store.list()) == 9
