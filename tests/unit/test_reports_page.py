"""The report: one file without a network that says what its data are, and shows nothing that no guarantee covers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from privlab.config import load_preset
from privlab.metrics import METRICS, Point, Release
from privlab.preflight import preflight
from privlab.privacy import epsilon_curve
from privlab.reports import bundle
from privlab.reports.importing import import_bundle
from privlab.reports.page import Chart, page
from privlab.reports.pdf import PdfFailed, to_pdf
from privlab.runs.record import Run, Status
from privlab.runs.store import Store
from privlab.ui.report import report

NAME = "</script><b>mine</b> & 'yours'"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return Store()


def stored(store: Store, preset: str = "digits", **settings) -> Run:
    config = load_preset(preset).replace(**settings)
    plan = preflight(config).plan
    run = store.create(config, plan, status=Status.STARTING)
    store.move(run.id, Status.RUNNING)
    store.add_event(run.id, "info", "Self-check passed: all is well.", {"sensitivity": 1.0})
    every = {key: 0.5 for key in METRICS}
    for step in range(1, 6):
        store.append(
            run.id, Point(step, step * plan.sample_rate, 0.1 * step, 0.1 * step if plan.is_private else None, every)
        )
    store.move(run.id, Status.STOPPED)
    return store.get(run.id)


def figures(text: str) -> list[dict]:
    return json.loads(re.search(r"const FIGURES = (\[.*\]);\n", text)[1])


def body(text: str) -> str:
    return text[text.index("<main>") : text.index("</main>")]


def test_one_run_has_its_claim_settings_checks_and_the_mark_below_each_chart(store: Store) -> None:
    run = stored(store, name="mine", data__dataset="fashion-mnist", model__name="logistic", privacy__delta=1e-5)
    text = report(store, [run])
    shown = body(text)
    assert "Self-check passed: all is well." in shown and "Clipping bound C (L2 norm)" in shown
    assert "Conditional." in shown and "The full statement" in shown
    drawn = figures(text)
    assert shown.count("<figcaption>● Real runs, trained by PrivLab here: mine.") == len(drawn) >= 2
    assert "★ Published results, for reference:" in shown and "Tramèr" in shown
    assert any(trace.get("name") == "Published results" for trace in drawn[0]["data"])


def test_what_no_guarantee_covers_is_left_out(store: Store) -> None:
    text = report(store, [stored(store)])
    names = json.dumps(figures(text), ensure_ascii=False)
    covered = (Release.RELEASED, Release.MODEL, Release.TEST_DATA)
    for metric in METRICS.values():
        if metric.release not in covered:
            assert f'"name": "{metric.label}"' not in names
    assert "private diagnostic" not in names and "left out" in body(text)


def test_several_runs_show_what_differs_and_fold_the_rest(store: Store) -> None:
    runs = [stored(store, name="a"), stored(store, "strong", name="b"), stored(store, "no-privacy", name="c")]
    shown = body(report(store, runs))
    differing, same = shown.split("The other settings, the same in all")
    assert "Privacy: Target epsilon" in differing and "Momentum" not in differing and "Momentum" in same
    assert "✗ Void" in shown and shown.count("<h2>Privacy claim of") == 3
    assert "<td>∞</td>" in shown


def test_an_imported_run_is_marked_wherever_it_is_drawn(store: Store) -> None:
    mine, theirs = stored(store, name="mine"), stored(store, name="theirs")
    steps = store.points(theirs.id)
    honest = [Point(p.step, p.epoch, p.seconds, 9.0, p.metrics) for p in steps[:-1]]
    plan = theirs.plan
    last = float(epsilon_curve(plan, [5])[0])
    content = bundle(
        replace(theirs, epsilon=last), [*honest, replace(steps[-1], epsilon=last)], store.events(theirs.id)
    )
    store.delete(theirs.id)
    store.purge(older_than=-1)
    run = import_bundle(store, content)
    text = report(store, [mine, run], names={mine.id: "mine", run.id: "theirs (imported)"})
    shown = body(text)
    assert f"⇣ Imported, trained elsewhere and not seen here: theirs (imported) (run {theirs.id})." in shown
    assert "● Real runs, trained by PrivLab here: mine." in shown
    assert "stopped, imported" in shown and "shown as its bundle says" in shown


def test_names_are_text_and_never_markup_or_script(store: Store) -> None:
    text = report(store, [stored(store, name=NAME), stored(store, name="other")])
    assert "<b>mine" not in text and text.count("</script>") == 2
    assert "&lt;b&gt;mine" in body(text)


def test_a_figure_cannot_end_the_script_that_draws_it() -> None:
    text = page("mine", [], [Chart('{"layout": {"title": "</script><b>"}}', ())])
    assert text.count("</script>") == 2 and figures(text)[0]["layout"]["title"] == "</script><b>"


def test_nothing_is_loaded_from_elsewhere(store: Store) -> None:
    text = report(store, [stored(store)])
    before = text[: text.index("<script>")]
    assert not re.search(r"(src|href)\s*=|@import|url\(", before)


def test_a_run_without_points_is_no_empty_chart(store: Store) -> None:
    config = load_preset("digits")
    run = store.create(config, preflight(config).plan)
    text = report(store, [run])
    assert "Nothing was measured that could be drawn." in text and "<script>" not in text


def test_without_a_chromium_a_pdf_is_refused_with_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privlab.reports.pdf.chromium", lambda: None)
    with pytest.raises(PdfFailed, match="Save as PDF"):
        to_pdf("<p>")


def test_a_chromium_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVLAB_CHROMIUM", "/bin/false")
    with pytest.raises(PdfFailed, match=r"/bin/false ended with status 1"):
        to_pdf("<p>")
    monkeypatch.setenv("PRIVLAB_CHROMIUM", "/nowhere/chromium")
    with pytest.raises(PdfFailed, match=r"/nowhere/chromium did not print"):
        to_pdf("<p>")
