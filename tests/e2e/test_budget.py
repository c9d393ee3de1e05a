"""The Budget page in a real browser: the answer, the slider, a bad value, Opacus's PRV, and both themes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.lab import Lab, Visitor

ANSWER = '[data-testid="budget-answer"]'


def fill(visitor: Visitor, name: str, text: str) -> None:
    box = visitor.page.locator(f".st-key-{name} input")
    box.fill(text)
    box.press("Enter")
    visitor.settle()


@pytest.mark.parametrize("visitor", ["light", "dark"], indirect=True)
def test_from_numbers_to_an_answer_and_back_by_its_link(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(f"{lab.url}/budget")
    expect(page.locator(ANSWER)).to_have_text("1.696")
    fill(visitor, "noise_multiplier", "2")
    expect(page.locator(ANSWER)).not_to_have_text("1.696")
    shown = page.locator(ANSWER).inner_text()
    link = page.url
    assert "noise_multiplier=2.0" in link
    fill(visitor, "batch_size", "60001")
    expect(page.locator(".st-key-below-batch_size")).to_contain_text("B = 60,001 is more than all N = 60,000 records.")
    expect(page.locator(ANSWER)).to_have_text("–")
    visitor.open(link)
    expect(page.locator(ANSWER)).to_have_text(shown)
    expect(page.get_by_text("covered by the guarantee")).to_have_count(5)


def test_the_answer_comes_while_a_person_types(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(f"{lab.url}/budget")
    expect(page.locator(ANSWER)).to_have_text("1.696")
    box = page.locator(".st-key-noise_multiplier input")
    box.fill("2")
    expect(page.locator(ANSWER)).to_have_text(re.compile(r"^0\.\d+$"))
    typed = page.locator(ANSWER).inner_text()
    assert "noise_multiplier=1.1" in page.url  # nothing was entered yet
    box.fill("")
    expect(page.locator(ANSWER)).to_have_text("–")
    box.fill("2")
    box.press("Enter")
    visitor.settle()
    assert "noise_multiplier=2.0" in page.url
    expect(page.locator(ANSWER)).to_have_text(typed)


def test_the_slider_holds_epsilon(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(f"{lab.url}/budget")
    sigma = page.get_by_test_id("explorer-answer")
    expect(sigma).to_have_text(re.compile(r"^1\.1"))
    before = float(sigma.inner_text())
    page.locator('.st-key-slider-batch_size input[type="range"]').focus()
    page.keyboard.press("ArrowRight")
    visitor.settle()
    expect(sigma).to_have_text(re.compile(r"^\d"))
    assert float(sigma.inner_text()) > before
    assert "at=600.0" in page.url


def test_opacus_is_asked_on_demand_and_its_answer_kept(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(f"{lab.url}/budget?noise_multiplier=2.5&epochs=2")
    page.get_by_role("button", name="Ask Opacus's PRV").click()
    words = page.locator(".st-key-accountant-words")
    expect(words).to_contain_text(re.compile(r"PRV, Opacus · 0\.\d+, a check"), timeout=60_000)
    visitor.open(page.url)
    expect(words).to_contain_text(re.compile(r"PRV, Opacus · 0\.\d+, a check"))
