"""The report in a browser without any network: its charts draw themselves, on paper too, and what is handed on can be fetched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from privlab.config import load_preset
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.privacy import epsilon_curve
from privlab.reports import bundle
from privlab.reports.pdf import to_pdf
from privlab.runs.record import Run, Status
from privlab.runs.store import Store
from privlab.ui.report import report
from tests.e2e.browser import find
from tests.e2e.lab import Lab, Visitor


def finished(store: Store, **settings) -> Run:
    config = load_preset("digits").replace(**settings)
    plan = preflight(config).plan
    run = store.create(config, plan, status=Status.STARTING)
    store.move(run.id, Status.RUNNING)
    for step in range(1, 6):
        measured = {"test_accuracy": 0.1 * step, "test_loss": 2.0 / step, "train_loss": 1.0}
        store.append(run.id, Point(step, step * plan.sample_rate, 0.1 * step, 0.1 * step, measured))
    store.move(run.id, Status.FINISHED)
    return store.get(run.id)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    store = Store()
    text = report(store, [finished(store, name="<b>first</b>"), finished(store, name="second")])
    store.close()
    return text


def test_it_draws_without_a_network(page: str, browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    context = browser.new_context(offline=True)
    tab = context.new_page()
    odd: list[str] = []
    tab.on("console", lambda message: odd.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: odd.append(str(error)))
    tab.on("request", lambda request: odd.append(request.url) if not request.url.startswith("file:") else None)
    tab.goto((tmp_path / "report.html").as_uri())
    chart = tab.locator("#chart-0")
    expect(chart.locator(".scatterlayer .trace")).to_have_count(2)
    expect(chart).to_contain_text("Test accuracy")
    expect(chart).to_contain_text("<b>first</b>")
    assert odd == []
    context.close()


def test_it_becomes_a_pdf(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVLAB_CHROMIUM", find())
    printed = to_pdf(page)
    assert printed.startswith(b"%PDF") and len(printed) > 20_000


def test_a_bundle_from_elsewhere_is_taken_in(lab: Lab, visitor: Visitor, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    there = Store()
    run = finished(there, name="from elsewhere")
    points = there.points(run.id)
    spent = epsilon_curve(run.plan, [point.step for point in points]).tolist()
    honest = [replace(point, epsilon=epsilon) for point, epsilon in zip(points, spent, strict=True)]
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    good.write_bytes(bundle(replace(run, epsilon=spent[-1]), honest))
    bad.write_bytes(good.read_bytes()[:-30])
    there.close()
    tab = visitor.open(f"{lab.url}/compare")
    for file, said in ((bad, "not an undamaged zip file"), (good, f"trained elsewhere as {run.id}")):
        if not tab.get_by_role("button", name="Check and import").is_visible():
            tab.get_by_role("button", name="Import a run").click()
        tab.locator("input[type=file]").set_input_files(file)
        visitor.settle()
        tab.get_by_role("button", name="Check and import").click()
        visitor.settle()
        expect(tab.get_by_text(said).first).to_be_visible()
    with lab.store() as store:
        (here,) = (each for each in store.list() if each.origin == run.id)
    tab = visitor.open(f"{lab.url}/run?run={here.id}")
    expect(tab.get_by_text("stopped, imported")).to_be_visible()


def test_report_and_script_come_from_the_page_of_a_run(lab: Lab, visitor: Visitor) -> None:
    with lab.store() as store:
        run = finished(store, name="handed on")
    tab = visitor.open(f"{lab.url}/run?run={run.id}")
    for label, name, inside in (
        ("Report, HTML", f"privlab-{run.id}-report.html", b"Privacy claim"),
        ("Script with plain Opacus", f"privlab-{run.id}-opacus.py", b"GradSampleModule"),
        ("Jupyter notebook", f"privlab-{run.id}-opacus.ipynb", b"nbformat"),
    ):
        with tab.expect_download() as fetched:
            tab.get_by_role("button", name=label).click()
        assert fetched.value.suggested_filename == name
        assert inside in Path(fetched.value.path()).read_bytes()
