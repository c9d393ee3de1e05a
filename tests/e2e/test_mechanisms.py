"""Ways to clip and to add noise, chosen in the Lab and drawn live; a budget that ends a run, and more noise that lets it go on."""

from __future__ import annotations

from playwright.sync_api import expect

from privlab.config import load_preset
from privlab.runs import control
from privlab.runs.record import Status
from tests.e2e.lab import Lab, Visitor
from tests.e2e.steps import fill, launch, preset, until

CHART = '[data-testid="live-chart-accuracy"]'
CLIPPING = {"flat": 0, "per-layer": 1, "automatic": 2, "adaptive": 3}


def choose(visitor: Visitor, path: str, downs: int) -> None:
    """Choose the entry ``downs`` below the present one in the list of setting ``path``."""
    box = visitor.page.locator(f".st-key-{path.replace('.', '-')}").get_by_role("combobox")
    box.click()
    for _ in range(downs):
        box.press("ArrowDown")
    box.press("Enter")
    visitor.settle()


def test_ways_to_clip_are_drawn_beside_each_other(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(lab.url)
    preset(visitor, "digits")
    fill(page, "training.epochs", 30)
    visitor.settle()
    runs = []
    for mode in CLIPPING:
        if mode != "flat":
            choose(visitor, "privacy.clipping", 1)
        (run,) = launch(visitor, lab)
        assert run.plan.clipping == mode
        runs.append(run)
    for run in runs:
        done = until(page, lab, run.id, lambda r: r.status.is_over)
        assert done.status is Status.FINISHED, done.error
        assert 2.9 < done.epsilon <= 3.0
    page.wait_for_function(
        "(s) => (document.querySelector(s)?.data || []).filter((t) => t.x.length > 20).length >= 4", arg=CHART
    )


def test_a_budget_ends_the_run_and_more_noise_lets_it_go_on(lab: Lab, visitor: Visitor) -> None:
    config = load_preset("digits").replace(
        training__epochs=40, privacy__noise_multiplier=2.0, privacy__epsilon_limit=4.0, training__curve_points=20
    )
    with lab.store() as store:
        run = control.launch(store, config)
    page = visitor.open(f"{lab.url}/run?run={run.id}")
    done = until(page, lab, run.id, lambda r: r.status.is_over)
    assert done.status is Status.FINISHED and done.step == run.plan.steps < run.plan.planned_steps
    assert done.epsilon <= 4.0
    expect(page.get_by_text("✓ finished")).to_be_visible()
    expect(page.get_by_test_id("live-tile-epsilon").locator("..")).to_contain_text("of 4, which ends at step")
    visitor.settle()
    page.get_by_role("button", name="Raise σ").click()
    fill(page, f"raise-noise-{run.id}", 6)
    expect(page.get_by_text("The run would end at")).to_be_visible()
    page.locator(f".st-key-confirm-raise-noise-{run.id} button").click()
    longer = until(page, lab, run.id, lambda r: r.status.is_over and r.step > done.step)
    assert longer.status is Status.FINISHED, longer.error
    assert longer.epsilon <= 4.0
    assert longer.plan.noise_multiplier_at(done.step) == 2.0
    assert abs(longer.plan.noise_multiplier_at(done.step + 1) - 6.0) < 1e-9
    expect(page.get_by_text("Conditional.")).to_be_visible()
