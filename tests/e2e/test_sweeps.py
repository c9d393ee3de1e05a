"""A sweep from its form to its end, with the app killed in between, against the real server and real training."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from privlab.config import load_preset
from privlab.runs import control
from privlab.runs.record import Run, Status
from privlab.runs.sweeprecord import SweepState
from privlab.sweeps.results import Standing, standing
from tests.e2e.lab import ROOT, Lab, Visitor
from tests.e2e.test_compare import click

MAP = '[data-testid="sweep-map"]'

#: A second of training each.
SHORT = load_preset("digits").replace(
    name="short", model__name="logistic", privacy__noise_multiplier=2.0, training__epochs=1, training__curve_points=2
)


def shot(page: Page, name: str) -> None:
    """A picture to look at, where the journeys' artifacts are."""
    folder = ROOT / "tests" / "e2e" / "artifacts"
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / f"sweep-{name}.png", full_page=True)


def type_in(visitor: Visitor, key: str, value: str) -> None:
    box = visitor.page.locator(f".st-key-{key.replace('.', '-')} input").first
    box.fill(value)
    box.press("Enter")
    visitor.settle()


def now(lab: Lab) -> Standing:
    with lab.store() as store:
        return standing(store, store.sweeps()[0].id)


def until(page: Page, lab: Lab, what, seconds: int = 400) -> Standing:
    for _ in range(2 * seconds):
        found = now(lab)
        if what(found):
            return found
        page.wait_for_timeout(500)
    raise AssertionError(f"{found.sweep}: {[(row.trial.values, row.state) for row in found.rows]}")


def finished(found: Standing) -> int:
    return sum(result.status == "finished" for _, result in found.results)


def test_a_sweep_survives_the_death_of_the_app(mortal_lab: Lab, visitor: Visitor) -> None:
    lab, page = mortal_lab, visitor.page
    with lab.store() as store:
        base: Run = control.launch(store, SHORT)
    visitor.open(f"{lab.url}/sweeps")
    expect(page.get_by_text("No sweeps yet")).to_be_visible()
    visitor.open(f"{lab.url}/run?run={base.id}")
    page.get_by_text("Sweep around these settings").click()
    visitor.settle()
    expect(page.get_by_text("Before you launch")).to_be_visible()
    # What is wrong stands beside its entry, with the bound, and nothing can be launched.
    type_in(visitor, "sw-values-privacy.max_grad_norm", "0.2, 0")
    expect(page.get_by_text("it must be more than 0 and at most 1,000")).to_be_visible()
    expect(page.locator(".st-key-launch-sweep button").first).to_be_disabled()
    shot(page, "refused")
    type_in(visitor, "sw-values-privacy.max_grad_norm", "0.2, 1")
    type_in(visitor, "sw-values-training.learning_rate", "0.1, 0.5")
    type_in(visitor, "sw-at-once", "2")
    expect(page.get_by_text("All 4 combinations can be launched.")).to_be_visible()
    shot(page, "form")
    page.locator(".st-key-launch-sweep button").first.click()
    visitor.settle()
    expect(page.get_by_text("● running")).to_be_visible()
    until(page, lab, lambda found: finished(found) >= 2)
    # The map fills in by itself, and the page is not drawn anew.
    page.evaluate("document.querySelector('h1').dataset.mark = 'same'")
    expect(page.locator(f"{MAP}.js-plotly-plot")).to_be_visible()
    shot(page, "half")
    before = until(page, lab, lambda found: finished(found) >= 3)
    assert page.evaluate("document.querySelector('h1').dataset.mark") == "same"
    lab.kill()
    lab.start()
    visitor.open(f"{lab.url}/sweeps?sweep={before.sweep.id}")
    found = until(page, lab, lambda found: found.sweep.state is SweepState.FINISHED)
    with lab.store() as store:
        runs = store.list(group=found.sweep.id, deleted=None)
    assert [run.status for run in runs] == [Status.FINISHED] * 8
    told = {(r.config.privacy.max_grad_norm, r.config.training.learning_rate, r.config.training.seed) for r in runs}
    assert len(told) == 8
    expect(page.get_by_text("✓ finished")).to_be_visible()
    expect(page.get_by_text(re.compile("8.* of 8 runs")).first).to_be_visible()
    expect(page.get_by_text("All its 8 runs together")).to_be_visible()
    # A click on a cell shows its combination alone, also after a reload; a second one shows all again.
    click(page, MAP, "heatmap", (0, 0))
    expect(page.get_by_text("Combinations with C = 0.2, η = 0.1")).to_be_visible()
    visitor.open(page.url)
    expect(page.get_by_text("Combinations with C = 0.2, η = 0.1")).to_be_visible()
    shot(page, "picked")
    click(page, MAP, "heatmap", (0, 0))
    expect(page.get_by_text("Combinations with")).to_have_count(0)
    page.wait_for_timeout(1000)
    shot(page, "end")
    visitor.open(f"{lab.url}/sweeps")
    expect(page.get_by_text("8 of 8 runs")).to_be_visible()
    shot(page, "list")
