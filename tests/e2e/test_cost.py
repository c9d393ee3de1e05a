"""What a step costs, measured at the press of a button in the Lab, before anything is launched."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.lab import Lab, Visitor
from tests.e2e.steps import fill, preset, runs_of

#: Four methods in a process each, on a machine that does other things too.
_LONG = 300_000


def test_a_step_is_measured_stopped_and_measured_again(fresh_lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(fresh_lab.url)
    preset(visitor, "digits")
    card = page.locator(".st-key-cost")
    card.get_by_role("button", name="Measure on this machine").click()
    card.get_by_role("button", name="Stop").click()
    expect(card).to_contain_text("The last measurement was stopped.")
    card.get_by_role("button", name="Measure on this machine").click()
    expect(card.get_by_role("button", name="Stop")).to_be_visible()
    # It goes on without the page, and the same settings show the same measurement.
    page.reload()
    visitor.settle()
    for name in ("One pass", "Hooks", "Ghost", "Plain SGD"):
        expect(card.locator(".js-plotly-plot .ytick").filter(has_text=name).first).to_be_visible(timeout=_LONG)
    expect(card).to_contain_text("845 steps and the evaluations", timeout=_LONG)
    expect(card.get_by_role("button", name="Measure again")).to_be_visible(timeout=_LONG)
    expect(page.locator(".st-key-preview")).to_contain_text("by the steps measured here")
    # Fewer steps of the same kind need no new measurement, another batch does.
    visitor.settle()
    fill(page, "training.epochs", 75)
    expect(card).to_contain_text("422 steps and the evaluations")
    fill(page, "training.batch_size", 128)
    expect(card.get_by_role("button", name="Measure on this machine")).to_be_visible()
    assert runs_of(fresh_lab) == []
