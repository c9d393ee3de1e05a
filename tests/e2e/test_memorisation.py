"""A secret to leak: launched from its preset, its exposure watched, and text written by the model with and without privacy."""

from __future__ import annotations

from playwright.sync_api import expect

from privlab.runs import control
from privlab.runs.record import Run, Status
from tests.e2e.lab import Lab, Visitor
from tests.e2e.steps import fill, launch, preset, until

EXPOSURE = '[data-testid="live-chart-exposure"]'


def test_what_a_model_without_privacy_recites_and_one_with_it_does_not(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(lab.url)
    preset(visitor, "memorise")
    # Few records a step and many repeats: one epoch is enough to learn secrets by heart.
    for group in ("data", "training"):
        page.get_by_text(f"More on {group}").first.click()
    for path, value in (
        ("data.secret_repeats", 100),
        ("training.epochs", 1),
        ("training.batch_size", 16),
        ("training.curve_points", 2),
    ):
        fill(page, path, value)
    visitor.settle()
    strong, *others, plain = launch(visitor, lab, "launch-levels")
    assert strong.plan.target_epsilon == 1 and not plain.plan.is_private
    with lab.store() as store:
        for other in others:
            control.stop(store, other.id)
    expect(page.locator(EXPOSURE)).to_be_visible()
    # The levels lie on an axis of their own.
    exposed = "(s) => document.querySelector(s)?.data?.some((t) => t.xaxis !== 'x2' && t.y.some((bits) => bits > 5))"
    page.wait_for_function(exposed, arg=EXPOSURE, timeout=300_000)
    done = {run.id: until(page, lab, run.id, lambda r: r.status.is_over) for run in (plain, strong)}
    assert all(run.status is Status.FINISHED for run in done.values()), [run.error for run in done.values()]
    assert done[plain.id].metrics["recited"] >= 1 and done[strong.id].metrics["recited"] == 0
    assert done[strong.id].metrics["exposure_mean"] < done[plain.id].metrics["exposure_mean"]
    told = recited(lab, plain)

    visitor.open(f"{lab.url}/run?run={plain.id}")
    expect(page.get_by_text("Nothing limits what a model without privacy may recite")).to_be_visible()
    visitor.open(f"{lab.url}/compare?runs={plain.id},{strong.id}")
    box = page.locator(".st-key-write-on-prompt").get_by_role("combobox")
    box.fill(told["prefix"])
    box.press("Enter")
    visitor.settle()
    page.locator(".st-key-write-on-write button").click()
    card = page.locator(".st-key-write-on")
    expect(card.get_by_text("as private as the model")).to_have_count(2, timeout=120_000)
    expect(page.locator(".st-key-write-on-write button")).to_be_visible(timeout=120_000)
    expect(card.get_by_text(told["code"])).to_have_count(1)
    expect(card.get_by_text("a planted secret, word by word")).to_have_count(1)


def recited(lab: Lab, run: Run) -> dict:
    """One of the secrets that the run's model recites at temperature 0."""
    with lab.store() as store:
        (event,) = [event for event in store.events(run.id) if "exposures" in event.data]
    return next(secret for secret in event.data["exposures"] if secret["by"] == "greedy decoding")
