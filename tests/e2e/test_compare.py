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


def click(page: Page, plot: str, trace: str, place: int | tuple[int, int], under_a_line: bool = False) -> None:
    """Click a mark of the named trace; of a map the cell in that row and column. Nothing says what lies under a line."""
    page.wait_for_function("(s) => !!document.querySelector(s)?._fullLayout?.xaxis?.l2p", arg=plot)
    page.locator(plot).scroll_into_view_if_needed()
    x, y = page.evaluate(
        """([s, name, place]) => {
          const plot = document.querySelector(s), { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
          const trace = plot._fullData.find((one) => one.name === name || one.type === name);
          const [x, y] = Array.isArray(place)
            ? [xaxis.l2p(place[1]), yaxis.l2p(place[0])] : [xaxis.d2p(trace.x[place]), yaxis.d2p(trace.y[place])];
          return [box.x + xaxis._offset + x, box.y + yaxis._offset + y];
        }""",
        [plot, trace, place],
    )
    # Plotly looks for what lies under the pointer when it moves.
    page.mouse.move(x - 3, y - 3)
    page.mouse.move(x, y, steps=3)
    if not under_a_line:
        page.locator(plot).locator(".hoverlayer .hovertext").first.wait_for()
    page.mouse.click(x, y)


#: Where both axes of a chart begin and end.
RANGE = "(s) => { const { xaxis, yaxis } = document.querySelector(s)._fullLayout; return [xaxis.range, yaxis.range]; }"


def zoom(page: Page) -> list[list[float]]:
    """Draw a box around the upper half of the front's chart; where the axes begin and end then."""
    before = page.evaluate(RANGE, FIGURE)
    left, top, width, height = page.evaluate(
        """(s) => {
          const plot = document.querySelector(s), { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
          return [box.x + xaxis._offset, box.y + yaxis._offset, xaxis._length, yaxis._length];
        }""",
        FIGURE,
    )
    page.mouse.move(left + 4, top + 4)
    page.mouse.down()
    page.mouse.move(left + 0.9 * width, top + 0.85 * height, steps=8)
    page.mouse.up()
    page.wait_for_function(
        "([s, before]) => document.querySelector(s)._fullLayout.xaxis.range[1] < before", arg=[FIGURE, before[0][1]]
    )
    return page.evaluate(RANGE, FIGURE)


def test_a_click_on_a_result_chooses_it_and_on_a_cell_lists_its_runs(fresh_lab: Lab, visitor: Visitor) -> None:
    runs = made(fresh_lab)
    page = visitor.open(f"{fresh_lab.url}/compare?group=seed&view=pareto")
    expect(page.get_by_text("Click a result to choose it")).to_be_visible()
    click(page, FIGURE, "on the front, trained here", 0)
    expect(page.locator(".st-key-point-card")).to_contain_text("mean of 3 runs")
    visitor.settle()
    first = {run.id for run in runs if run.name == "C 0.1"}
    assert set(address(page)["runs"].split(",")) == first and address(page)["point"] in first
    page.evaluate("(s) => { document.querySelector(s).dataset.mark = 'same'; }", FIGURE)
    page.locator(FIGURE).scroll_into_view_if_needed()
    before = zoom(page)
    # The level line stands in the middle of all results, which is where this one is.
    click(page, FIGURE, "on the front, trained here", 1, under_a_line=True)
    expect(page.locator(".st-key-point-card")).to_contain_text("C 0.2")
    visitor.settle()
    assert len(address(page)["runs"].split(",")) == 6
    # The same chart at the same zoom, with the chosen drawn large.
    assert page.evaluate("(s) => document.querySelector(s).dataset.mark", FIGURE) == "same"
    large = "(s) => document.querySelector(s)._fullData.find((one) => one.name === 'on the front, trained here').selectedpoints"
    assert page.evaluate(large, FIGURE) == [0, 1]
    assert page.evaluate(RANGE, FIGURE) == before
    page.get_by_role("link", name="Open its first run").click()
    page.wait_for_url("**/run?run=*")

    where = "view=settings&x=privacy.max_grad_norm&y=privacy.target_epsilon"
    visitor.open(f"{fresh_lab.url}/compare?{where}")
    click(page, '[data-testid="settings-map"]', "heatmap", (1, 1))
    expect(page.locator(".st-key-cell-card")).to_contain_text("3 runs")
    expect(page.locator(".st-key-cell-card").get_by_role("link")).to_have_count(3)
    click(page, '[data-testid="settings-map"]', "heatmap", (1, 1))
    expect(page.locator(".st-key-cell-card")).to_have_count(0)
    visitor.settle()


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
