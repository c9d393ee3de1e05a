"""The Encryption page in a real browser: modes beside each other, other eyes, and a drawn digit that only its owner reads."""

from __future__ import annotations

import math
import re

import pytest
from playwright.sync_api import Page, expect

from privlab.config import load_preset
from privlab.runs import control
from privlab.runs.record import Run, Status
from tests.e2e.lab import Lab, Visitor
from tests.e2e.steps import launch, until

CHART = '[data-testid="live-chart-compare"]'


def choose(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).click()


def trained(lab: Lab, page: Page, mode: str) -> Run:
    """A short run of the smallest model in ``mode``, finished; trained where the lab has none yet."""
    config = load_preset("digits").replace(
        name=f"short {mode}", model__name="logistic", training__epochs=3, encryption__mode=mode
    )
    with lab.store() as store:
        there = [run for run in store.list(status=[Status.FINISHED]) if run.config == config]
        run = there[0] if there else control.launch(store, config)
    done = until(page, lab, run.id, lambda r: r.status.is_over)
    assert done.status is Status.FINISHED, done.error
    return done


def test_five_modes_of_one_job(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(f"{lab.url}/encryption")
    expect(page.get_by_text("Expected for 650 parameters")).to_be_visible()
    page.locator(".st-key-sbs-epochs input").fill("8")
    page.locator(".st-key-sbs-epochs input").press("Enter")
    visitor.settle()
    runs = launch(visitor, lab, "sbs-launch")
    assert sorted(run.config.encryption.mode for run in runs) == ["bfv", "ckks", "none", "pad", "sealed"]
    done = [until(page, lab, run.id, lambda r: r.status.is_over) for run in runs]
    assert {run.status for run in done} == {Status.FINISHED}, [run.error for run in done]
    # The same dice: what differs is rounding of the store alone.
    accuracies = [run.metrics["test_accuracy"] for run in done]
    assert max(accuracies) - min(accuracies) < 0.01
    page.wait_for_function(
        "(s) => (document.querySelector(s)?.data || []).filter((t) => t.x.length > 5).length >= 5", arg=CHART
    )
    expect(page.locator(".st-key-sbs-costs")).to_contain_text("2 encrypt: to and from the server")


@pytest.mark.parametrize("visitor", ["light", "dark"], indirect=True)
def test_a_drawn_digit_is_answered_encrypted(lab: Lab, visitor: Visitor) -> None:
    trained(lab, visitor.page, "none")
    page = visitor.open(f"{lab.url}/encryption?view=inference")
    field = page.get_by_test_id("draw-field")
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    for turn in range(25):
        angle = 2 * math.pi * turn / 24
        x, y = 0.5 + 0.2 * math.sin(angle), 0.5 - 0.35 * math.cos(angle)
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if turn == 0:
            page.mouse.down()
    page.mouse.up()
    answer = page.locator(".st-key-inference-answer")
    expect(answer).to_contain_text(re.compile(r"Encrypted answer.*\d"))
    expect(answer).to_contain_text("scores differ by less than 0.001")
    page.get_by_text("Flip one bit on the way").click()
    expect(answer).to_contain_text("One bit was flipped between owner and server")
    page.get_by_role("button", name="Clear").click()
    expect(answer).to_contain_text("Draw a digit")


def test_a_thief_sees_noise_and_the_server_ciphertext(lab: Lab, visitor: Visitor) -> None:
    run = trained(lab, visitor.page, "pad")
    page = visitor.open(f"{lab.url}/encryption?view=eyes")
    view = page.locator(".st-key-eyes-view")
    expect(view).to_contain_text("Nothing of what is inside")
    choose(page, "Server")
    expect(view).to_contain_text("The parameters in the server's memory")
    choose(page, "Owner of the key")
    expect(view).to_contain_text("what each unit looks for")
    page.get_by_role("button", name="Flip it and open").click()
    expect(page.get_by_text("Refused:")).to_be_visible()
    page.locator(f".st-key-guess-passphrase-{run.id} input").fill("hunter2")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("no passphrase leads to it")).to_be_visible()
    page.get_by_role("button", name="Attack").click()
    expect(page.get_by_text("Advantage of the attack")).to_be_visible(timeout=60_000)


def test_what_protects_from_what(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(f"{lab.url}/encryption?view=threats")
    rows = page.locator(".privlab-threats tbody tr")
    expect(rows).to_have_count(10)
    expect(rows.first.locator("td.yes")).to_have_count(1)
