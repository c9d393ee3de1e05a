"""A person brings a model: a folder is refused in words, then added and chosen; and what is shown of a run without its model."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from privlab.data import own
from privlab.data.weightfiles import TOKENIZER
from tests import ownmodels
from tests.e2e.lab import Lab, Visitor
from tests.e2e.steps import launch, preset


def test_a_model_of_ones_own(lab: Lab, visitor: Visitor, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PRIVLAB_HOME", str(lab.home))
    folder = ownmodels.folder(tmp_path / "Tiny BERT", "bert")
    spared = (folder / TOKENIZER).rename(tmp_path / TOKENIZER)
    page = visitor.open(lab.url)
    form = page.locator(".st-key-settings")
    expect(form.get_by_text("Your own model")).to_have_count(0)
    preset(visitor, "spam-bert")

    form.get_by_text("Your own model").click()
    add, source = page.locator(".st-key-own-model-add button"), page.locator(".st-key-own-model-source input")
    source.fill(str(folder))
    source.press("Tab")
    add.click()
    expect(form.get_by_text("has no tokenizer.json")).to_be_visible()
    visitor.settle()

    spared.rename(folder / TOKENIZER)
    add.click()
    expect(form.get_by_text("Tiny BERT (BERT, ")).to_be_visible()
    visitor.settle()
    page.locator(".st-key-own-model-choose button").click()
    visitor.settle()
    expect(form.locator(".st-key-model-name input")).to_have_value(re.compile(r"Tiny BERT \(BERT, "))
    (key,) = own.added()

    (run,) = launch(visitor, lab)
    assert run.config.model.name == key

    # Without the model its run is still shown. How it trains is looked at in tests/unit/test_training_own.py.
    own.remove(key)
    visitor.open(f"{lab.url}/run?run={run.id}")
    expect(page.get_by_role("heading", name="spam-bert")).to_be_visible()
    visitor.check()
    visitor.open(f"{lab.url}/compare?runs={run.id}")
    expect(page.get_by_text(key).first).to_be_attached()
    visitor.open(f"{lab.url}/ledger")
    visitor.check()
