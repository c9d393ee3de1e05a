"""What a person does in PrivLab, from the first visit to the comparison, against the real server and real training."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest
from playwright.sync_api import Page, expect

from privlab.config import load_preset
from privlab.privacy import epsilon
from privlab.runs import control
from privlab.runs.presence import app_is_alive
from privlab.runs.record import Run, Status
from privlab.runs.watch import APP_AWAY_SECONDS
from tests.e2e.lab import ROOT, Lab, Visitor
from tests.e2e.steps import fill, launch, preset, runs_of, until

CHART = '[data-testid="live-chart-accuracy"]'
#: Epochs enough to pause, reload and kill; nobody waits for the end.
LONG = 9_000


def points_drawn(page: Page) -> list[int]:
    """How many points each trace of the chart shows."""
    return page.evaluate("(s) => (document.querySelector(s)?.data || []).map((t) => t.x.length)", CHART)


def wait_for_points(page: Page, most: int) -> None:
    page.wait_for_function(
        "([s, n]) => Math.max(0, ...(document.querySelector(s)?.data || []).map((t) => t.x.length)) >= n",
        arg=[CHART, most],
        timeout=60_000,
    )


def start_long_run(visitor: Visitor, lab: Lab) -> Run:
    """A digits run that lasts, with many points, watched in the lab."""
    config = load_preset("digits").replace(training__epochs=LONG, training__curve_points=500)
    with lab.store() as store:
        run = control.launch(store, config)
    visitor.open(f"{lab.url}/?runs={run.id}")
    return until(visitor.page, lab, run.id, lambda r: r.status is Status.RUNNING and r.step > 1)


def test_launch_and_watch(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(lab.url)
    expect(page.get_by_text("Press Launch to train a model")).to_be_visible()
    preset(visitor, "digits")
    (run,) = launch(visitor, lab)
    wait_for_points(page, 20)
    done = until(page, lab, run.id, lambda r: r.status.is_over)
    assert done.status is Status.FINISHED, done.error
    plan = done.plan
    golden = epsilon(plan.sample_rate, plan.noise_multiplier, plan.steps, plan.delta)
    assert abs(done.epsilon - golden) < 1e-3
    expect(page.get_by_test_id("live-tile-epsilon")).to_have_text(f"{golden:.3f}")
    expect(page.get_by_test_id("live-tile-accuracy")).to_have_text(re.compile(r"^\d\d\.\d %$"))
    assert max(points_drawn(page)) >= 20


def test_four_levels_race(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(lab.url)
    preset(visitor, "digits")
    fill(page, "training.epochs", 30)
    visitor.settle()
    runs = launch(visitor, lab, "launch-levels")
    assert sorted(run.config.privacy.target_epsilon or 0 for run in runs) == [0, 1, 3, 8]
    for run in runs:
        assert until(page, lab, run.id, lambda r: r.status.is_over).status is Status.FINISHED
    page.wait_for_function(
        "(s) => (document.querySelector(s)?.data || []).filter((t) => t.x.length > 1).length >= 4", arg=CHART
    )


def test_pause_resume_stop(lab: Lab, visitor: Visitor) -> None:
    run = start_long_run(visitor, lab)
    page = visitor.open(f"{lab.url}/run?run={run.id}")
    page.locator(f".st-key-pause-{run.id} button").first.click()
    paused = until(page, lab, run.id, lambda r: r.status is Status.PAUSED)
    expect(page.get_by_text("❙❙ paused")).to_be_visible()
    visitor.settle()
    page.locator(f".st-key-resume-{run.id} button").first.click()
    resumed = until(page, lab, run.id, lambda r: r.status is Status.RUNNING and r.step > paused.step)
    # A worker that was cut off between checkpoint and point goes on from the checkpoint: no step is done twice.
    assert resumed.resumed_from >= paused.step
    expect(page.get_by_text("● training")).to_be_visible()
    visitor.settle()
    page.locator(f".st-key-stop-{run.id} button").first.click()
    stopped = until(page, lab, run.id, lambda r: r.status is Status.STOPPED)
    plan = stopped.plan
    # What was spent counts every step once, pause or not.
    assert abs(stopped.epsilon - epsilon(plan.sample_rate, plan.noise_multiplier, stopped.step, plan.delta)) < 1e-3
    # The buttons are drawn anew when the page learns of it; a person sees that before pressing the next.
    expect(page.get_by_text("■ stopped")).to_be_visible()
    visitor.settle()
    page.locator(f".st-key-delete-{run.id} button").first.click()
    page.locator(f".st-key-undelete-{run.id} button").first.click()
    expect(page.locator(f".st-key-clone-{run.id} button").first).to_be_visible()


def test_reload_in_mid_run(lab: Lab, visitor: Visitor) -> None:
    run = start_long_run(visitor, lab)
    page = visitor.page
    wait_for_points(page, 2)
    before = until(page, lab, run.id, lambda r: True)
    page.reload()
    visitor.settle()
    wait_for_points(page, 2)
    after = until(page, lab, run.id, lambda r: r.step > before.step)
    assert after.status is Status.RUNNING and after.attempt == before.attempt
    stop(lab, run)


def test_zoom_survives_updates(lab: Lab, visitor: Visitor) -> None:
    run = start_long_run(visitor, lab)
    page = visitor.page
    wait_for_points(page, 3)
    page.evaluate("(s) => { document.querySelector(s).marked = true; }", CHART)
    box = page.locator(f"{CHART} .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    page.mouse.up()
    ranges = "(s) => document.querySelector(s)._fullLayout.xaxis.range.map((v) => +v.toFixed(6))"
    page.wait_for_function("(s) => document.querySelector(s)._fullLayout.xaxis.autorange === false", arg=CHART)
    zoomed = page.evaluate(ranges, CHART)
    shown = max(points_drawn(page))
    wait_for_points(page, shown + 3)
    fill(page, "training.batch_size", 128)
    visitor.settle()
    assert page.evaluate(ranges, CHART) == zoomed
    assert page.evaluate("(s) => document.querySelector(s).marked", CHART) is True, "the chart was mounted anew"
    stop(lab, run)


def test_double_click_makes_one_run(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(lab.url)
    preset(visitor, "strong")
    before = len(runs_of(lab))
    page.locator(".st-key-launch button").first.dblclick()
    for _ in range(200):
        if len(runs_of(lab)) > before:
            break
        page.wait_for_timeout(100)
    visitor.settle()
    # The second press of two would be served by now.
    page.wait_for_timeout(500)
    visitor.settle()
    assert len(runs_of(lab)) == before + 1


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("training.batch_size", 5000, ["5,000", "1,442"]),
        ("privacy.delta", 0.5, ["0.5", "1,442"]),
        ("privacy.max_grad_norm", -1, ["-1", "greater than 0"]),
        ("privacy.target_epsilon", 0.00001, ["1e-05"]),
    ],
)
def test_wrong_input_is_named_beside_the_field(
    lab: Lab, visitor: Visitor, path: str, value: object, words: list[str]
) -> None:
    page = visitor.open(lab.url)
    preset(visitor, "digits")
    fill(page, path, value)
    visitor.settle()
    problem = page.locator(f".st-key-problem-{path.replace('.', '-')}")
    for word in words:
        expect(problem).to_contain_text(word)
    before = len(runs_of(lab))
    page.locator(".st-key-launch button").first.click()
    visitor.settle()
    expect(page.get_by_text("Nothing was launched.").first).to_be_visible()
    assert len(runs_of(lab)) == before


@pytest.mark.parametrize("visitor", ["dark"], indirect=True)
def test_dark_theme(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(lab.url)
    background = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    red, green, blue = (int(part) for part in re.findall(r"\d+", background)[:3])
    assert red + green + blue < 200, background
    expect(page.locator(CHART)).to_be_visible()
    page.wait_for_function("(s) => document.querySelector(s)._fullLayout", arg=CHART)
    ink = page.evaluate("(s) => document.querySelector(s)._fullLayout.font.color", CHART)
    assert ink and ink.lower() not in ("#000", "#000000", "#2a3f5f", "#444")


def test_unknown_run_in_the_url(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(f"{lab.url}/run?run=nosuchrun")
    expect(page.get_by_text("nosuchrun").first).to_be_visible()
    page = visitor.open(f"{lab.url}/compare?runs=nosuchrun,alsonot")
    expect(page.get_by_text("nosuchrun").first).to_be_visible()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Run]:
    """A lab that never ran, with a run trained by the library."""
    lab = Lab(tmp_path_factory.mktemp("trained"))
    command = [sys.executable, "-m", "privlab", "train", "--preset", "digits", "--set", "training.epochs=10", "--json"]
    env = os.environ | {"PRIVLAB_HOME": str(lab.home)}
    subprocess.run(command, env=env, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (run,) = runs_of(lab)
    return lab, run


@pytest.mark.parametrize(
    ("place", "words"),
    [("run?run={id}", "{name}"), ("compare?runs={id}", "One run is chosen"), ("?runs={id}", "{name}")],
)
def test_deep_links_on_a_fresh_server(trained: tuple[Lab, Run], visitor: Visitor, place: str, words: str) -> None:
    fresh, run = trained
    fresh.start()
    try:
        page = visitor.open(f"{fresh.url}/{place.format(id=run.id)}")
        expect(page.get_by_text("Page not found")).to_have_count(0)
        expect(page.get_by_text(words.format(name=run.name)).first).to_be_visible()
    finally:
        fresh.stop()


def test_ctrl_c_pauses_and_a_restart_goes_on(mortal_lab: Lab, visitor: Visitor) -> None:
    run = start_long_run(visitor, mortal_lab)
    mortal_lab.interrupt()
    paused = next(r for r in runs_of(mortal_lab) if r.id == run.id)
    assert paused.status is Status.PAUSED and paused.step >= run.step
    mortal_lab.start()
    page = visitor.open(f"{mortal_lab.url}/run?run={run.id}")
    page.locator(f".st-key-resume-{run.id} button").first.click()
    resumed = until(page, mortal_lab, run.id, lambda r: r.status is Status.RUNNING and r.step > paused.step)
    # On a busy machine the worker is cut off between its last checkpoint and that step's point, which is then made up for: the run
    # goes on from the last published step, and none is published twice.
    with mortal_lab.store() as store:
        steps = [point.step for point in store.points(run.id)]
    assert resumed.resumed_from >= paused.step and resumed.resumed_from in steps
    assert steps == sorted(set(steps)), "a step was published twice"
    stop(mortal_lab, run)


def test_a_run_outlives_a_killed_app(mortal_lab: Lab, visitor: Visitor) -> None:
    run = start_long_run(visitor, mortal_lab)
    mortal_lab.kill()
    gone = time.monotonic()
    mortal_lab.start()
    page = visitor.open(f"{mortal_lab.url}/run?run={run.id}")
    with mortal_lab.store():
        while not app_is_alive():
            page.wait_for_timeout(20)
    away = time.monotonic() - gone
    later = until(page, mortal_lab, run.id, lambda r: r.status is Status.RUNNING and r.step > run.step + 5)
    if away < APP_AWAY_SECONDS:
        assert later.pid == run.pid and later.attempt == run.attempt, "the worker was adopted, not started anew"
    else:
        # A machine too busy to bring the app back in that time: the worker may have paused meanwhile.
        assert later.attempt <= run.attempt + 1, "paused once at most, and gone on by itself"
    stop(mortal_lab, run)


def test_sealed_run_with_a_passphrase(lab: Lab, visitor: Visitor) -> None:
    page = visitor.open(lab.url)
    preset(visitor, "encrypted")
    fill(page, "training.epochs", 15)
    key = page.locator(".st-key-encryption-key").get_by_role("combobox")
    key.click()
    key.press("ArrowDown")
    key.press("Enter")
    visitor.settle()
    page.locator(".st-key-launch-passphrase input").fill("correct horse battery staple")
    page.locator(".st-key-launch-passphrase input").press("Tab")
    visitor.settle()
    (run,) = launch(visitor, lab)
    assert until(page, lab, run.id, lambda r: r.status.is_over).status is Status.FINISHED
    kept = b"".join(path.read_bytes() for path in lab.home.rglob("*") if path.is_file() and "runs.sqlite" in path.name)
    assert b"battery staple" not in kept
    sealed = (lab.home / "runs" / run.id / "weights.plab").read_bytes()
    assert b"safetensors" not in sealed and b"weight" not in sealed


def stop(lab: Lab, run: Run) -> None:
    with lab.store() as store:
        control.stop(store, run.id)
