"""The live panel alone, in a real browser: it draws, it keeps what a person did, it leaves nothing behind."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from privlab.metrics import PHASES
from privlab.runs.record import Status

CHART = '[data-testid="live-chart-accuracy"]'


def chart(page: Page, script: str, which: str = CHART):
    """Evaluate ``script`` with ``g`` as the chart's Plotly node."""
    return page.evaluate(f"(s) => {{ const g = document.querySelector(s); return {script}; }}", which)


def wait_for_chart(page: Page, condition: str, which: str = CHART) -> None:
    """Wait until ``condition``, over the Plotly node ``g``, holds; a trace that it names may come later."""
    page.wait_for_function(
        f"""(s) => {{
          const g = document.querySelector(s);
          try {{ return g && g.data && ({condition}); }} catch {{ return false; }}
        }}""",
        arg=which,
    )


def zoom(page: Page) -> list[float]:
    """Drag a box over the middle of the chart; the x range that results."""
    box = page.locator(f"{CHART} .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    page.mouse.up()
    wait_for_chart(page, "g._fullLayout.xaxis.autorange === false")
    return chart(page, "g._fullLayout.xaxis.range")


def rerun(visitor) -> None:
    visitor.page.get_by_role("button", name="Rerun").click()
    visitor.settle()


def test_a_theme_that_changes_while_the_panel_is_being_made_leaves_it_alive(harness, visitor):
    run = harness.create("digits")
    harness.add(run, 10, 20)
    held = []
    visitor.page.route("**/live.css", lambda route: held.append(route))
    page = visitor.open(harness.url(run))
    page.wait_for_function("() => document.querySelector('link[href$=\"live.css\"]')")
    page.emulate_media(color_scheme="dark")
    expect(page.get_by_test_id("stApp")).not_to_have_css("background-color", "rgb(255, 255, 255)")
    page.wait_for_timeout(500)
    (route,) = held
    route.continue_()
    wait_for_chart(page, "g.data[0].x.length === 2")


def test_a_curve_draws_itself_without_a_rerun(harness, visitor):
    run = harness.create("digits")
    harness.add(run, 10, 20)
    page = visitor.open(harness.url(run))
    wait_for_chart(page, "g.data[0].x.length === 2")
    harness.add(run, *range(30, 310, 10))
    wait_for_chart(page, "g.data[0].x.length === 30")
    expect(page.get_by_text("script run 1")).to_be_visible()
    expect(page.get_by_test_id("live-tile-accuracy")).to_have_text(re.compile(r"^[67]\d\.\d %$"))
    expect(page.get_by_test_id("live-tile-epsilon")).to_have_text("0.787")
    assert chart(page, "g.getAttribute('aria-label')").startswith("Chart: Test accuracy against ε")


def test_zoom_and_node_survive_points_and_reruns(harness, visitor):
    run, other = harness.create("one"), harness.create("two", 2.0)
    harness.add(run, *range(10, 210, 10))
    harness.add(other, *range(10, 210, 10))
    page = visitor.open(harness.url(run, other))
    wait_for_chart(page, "g.data.length === 3 && g.data[0].x.length === 20")
    chart(page, "g.marked = true")
    zoomed = zoom(page)
    for last in (210, 220, 230):
        harness.add(run, last)
        wait_for_chart(page, f"g.data[0].x.length === {last // 10}")
        rerun(visitor)
    page.get_by_text("Only the first run").click()
    visitor.settle()
    wait_for_chart(page, "g.data.length === 2")
    page.get_by_text("Only the first run").click()
    visitor.settle()
    wait_for_chart(page, "g.data.length === 3 && g.data[1].x.length === 20")
    assert chart(page, "g._fullLayout.xaxis.range") == zoomed
    assert chart(page, "g.marked") is True
    page.get_by_role("button", name="reset zoom").click()
    wait_for_chart(page, "g._fullLayout.xaxis.autorange === true")


def test_a_drag_is_not_torn_off_by_new_points(harness, visitor):
    run = harness.create("dragged")
    harness.add(run, *range(10, 210, 10))
    page = visitor.open(harness.url(run))
    wait_for_chart(page, "g.data[0].x.length === 20")
    box = page.locator(f"{CHART} .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"], steps=3)
    harness.add(run, *range(210, 260, 10))
    page.wait_for_timeout(1200)
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=3)
    page.mouse.up()
    wait_for_chart(page, "g._fullLayout.xaxis.autorange === false && g.data[0].x.length === 25")


def test_hover_tells_the_settings_and_stays_while_points_arrive(harness, visitor):
    run = harness.create("<img src=x onerror=window.hacked=1>")
    harness.add(run, *range(10, 210, 10))
    page = visitor.open(harness.url(run))
    wait_for_chart(page, "g.data[0].x.length === 20")
    x, y = chart(
        page,
        "(() => { const l = g._fullLayout, t = g.data[0], b = g.getBoundingClientRect(); return "
        "[b.left + l._size.l + l.xaxis.d2p(t.x[10]), b.top + l._size.t + l.yaxis.d2p(t.y[10])]; })()",
    )
    page.mouse.move(x - 2, y)
    page.mouse.move(x, y)
    tip = page.locator(".privlab-tip")
    for said in ("<img src=x", "step 110", "C = 1 · σ = 1.1 · B = 64", "ε = 0.477", "Test accuracy: 3"):
        expect(tip).to_contain_text(said)
    harness.add(run, 210)
    wait_for_chart(page, "g.data[0].x.length === 21")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("step 110")
    assert page.evaluate("window.hacked") is None
    assert page.locator(".privlab-live img").count() == 0


def test_axes_switch_and_are_remembered(harness, visitor):
    run = harness.create("axes")
    harness.add(run, *range(10, 110, 10))
    page = visitor.open(harness.url(run))
    wait_for_chart(page, "g.data[0].x.length === 10 && g._fullLayout.xaxis.type === 'log'")
    page.get_by_role("button", name="log ε").click()
    wait_for_chart(page, "g._fullLayout.xaxis.type === 'linear'")
    for axis, last in (("epoch", 100 * 64 / 1500), ("seconds", 1.25), ("step", 100)):
        page.get_by_role("button", name=axis, exact=True).click()
        wait_for_chart(page, f"g.data.length === 1 && Math.abs(g.data[0].x[9] - {last}) < 1e-3")
    page.reload()
    visitor.settle()
    wait_for_chart(page, "g.data[0].x[9] === 100")
    page.get_by_role("button", name="ε", exact=True).click()
    wait_for_chart(page, "g._fullLayout.xaxis.type === 'linear' && g.data.length === 2")
    page.get_by_role("button", name="published results").click()
    wait_for_chart(page, "g.data.length === 1")


def test_a_run_without_a_guarantee_is_a_level(harness, visitor):
    private, free = harness.create("private"), harness.create("free", 0.0)
    for run in (private, free):
        harness.add(run, *range(10, 110, 10))
    page = visitor.open(harness.url(private, free))
    wait_for_chart(
        page, "g.data.length === 3 && g.data[1].xaxis === 'x2' && g._fullLayout.annotations[0].text === 'free · ε = ∞'"
    )
    expect(page.get_by_test_id("live-tile-epsilon")).to_have_text("∞")
    page.get_by_role("button", name="step", exact=True).click()
    wait_for_chart(page, "g.data[1].x.length === 10 && g.data[1].x[9] === 100")


def test_a_level_alone_stays_between_0_and_100_percent(harness, visitor):
    free = harness.create("race · ε = ∞", 0.0)
    harness.add(free, 10, 20)
    page = visitor.open(harness.url(free))
    page.get_by_role("button", name="published results").click()
    wait_for_chart(page, "g.data[0].xaxis === 'x2' && g.data.every(t => t.name !== 'Published results')")
    low, high = chart(page, "g._fullLayout.yaxis.range")
    assert -0.02 < low < 0 < 1 < high < 1.02
    assert chart(page, "g._fullLayout.xaxis.range") == [-1, 1]
    assert chart(page, "g._fullLayout.annotations.map(a => a.text)") == ["race · ε = ∞"]


def test_an_empty_chart_has_the_axes_that_are_expected(harness, visitor):
    run = harness.create("waiting")
    page = visitor.open(harness.url(run))
    page.get_by_role("button", name="published results").click()
    wait_for_chart(page, "g.data.length === 0")
    ranges = "[g._fullLayout.xaxis.range, g._fullLayout.yaxis.range]"
    assert chart(page, ranges) == [[-1, 1], [0, 1]]
    page.get_by_role("button", name="log ε").click()
    wait_for_chart(page, "g._fullLayout.xaxis.range[1] === 10")
    page.get_by_role("button", name="step", exact=True).click()
    wait_for_chart(page, "g._fullLayout.xaxis.range[1] === 2000")
    for axis in ("epoch", "seconds"):
        page.get_by_role("button", name=axis, exact=True).click()
        wait_for_chart(page, "g._fullLayout.xaxis.range[1] === 1")
    plot = page.locator(f"{CHART} .nsewdrag").first
    before = plot.bounding_box()
    harness.add(run, 10, 20)
    wait_for_chart(page, "g.data.length === 1 && g._fullLayout.xaxis.autorange")
    assert plot.bounding_box() == before


def test_names_of_published_results_do_not_cover_each_other(harness, visitor):
    run = harness.create("crowded")
    harness.add(run, *range(10, 2000, 50))
    page = visitor.open(harness.url(run))
    wait_for_chart(page, "g.data.length === 2 && g._fullLayout.annotations.length === 3")
    boxes = chart(page, "[...g.querySelectorAll('.annotation-text-g')].map(e => e.getBoundingClientRect().toJSON())")
    assert len(boxes) == 3
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            apart = one["right"] <= other["left"] or other["right"] <= one["left"]
            assert apart or one["bottom"] <= other["top"] + 2 or other["bottom"] <= one["top"] + 2, boxes


def test_states_are_said_in_words(harness, visitor):
    queued = harness.create("later", status=Status.STARTING)
    page = visitor.open(harness.url())
    expect(page.get_by_test_id("live-message-accuracy")).to_contain_text("Press Launch")
    page = visitor.open(harness.url("nosuchrun"))
    expect(page.get_by_test_id("live-message-accuracy")).to_contain_text("not in the store")
    page = visitor.open(harness.url(queued))
    expect(page.get_by_test_id("live-message-accuracy")).to_contain_text("Waiting for the first point of later")
    harness.store.move(queued.id, Status.RUNNING)
    harness.add(queued, 10)
    expect(page.get_by_test_id("live-message-accuracy")).to_be_hidden()
    expect(page.get_by_test_id("live-announcer")).to_be_empty()
    harness.store.move(queued.id, Status.FAILED, error="The disk is full.")
    expect(page.get_by_test_id("live-announcer")).to_have_text("later failed. The disk is full.")
    expect(page.get_by_test_id("live-notes")).to_contain_text("later: failed. The disk is full.")
    # rerun_on_status: the page around the panel followed, once for each change.
    expect(page.get_by_text("script run 3")).to_be_visible()


def test_two_panels_share_a_page_and_leave_no_socket_behind(harness, visitor):
    run = harness.create("shared")
    harness.add(run, *range(10, 60, 10))
    lines = []
    visitor.page.on("websocket", lambda line: lines.append(line) if "/privlab/stream" in line.url else None)
    page = visitor.open(harness.url(run, page="two"))
    second = f".st-key-second {CHART}"
    for which in (f".st-key-lab {CHART}", second):
        wait_for_chart(page, "g.data[0].x.length === 5", which)
    assert chart(page, "g.data[0].x[4]", second) == 50
    rerun(visitor)
    assert len(lines) == 2
    page.get_by_text("No panel").click()
    expect(page.get_by_text("The panel is gone.")).to_be_visible()
    expect(page.locator(CHART)).to_have_count(0)
    page.wait_for_timeout(300)
    assert all(line.is_closed() for line in lines)


def test_the_panel_comes_back_after_the_server_was_gone(harness, visitor):
    run = harness.create("patient")
    harness.add(run, 10, 20)
    page = visitor.open(harness.url(run))
    wait_for_chart(page, "g.data[0].x.length === 2")
    chart(page, "g.marked = true")
    harness.stop()
    expect(page.locator(".privlab-connection")).to_have_text("reconnecting…")
    harness.add(run, 30)
    harness.start()
    wait_for_chart(page, "g.data[0].x.length === 3")
    expect(page.locator(".privlab-connection")).to_be_empty()
    assert chart(page, "g.marked") is True


def test_pictures_can_be_taken_along(harness, visitor, tmp_path):
    run = harness.create("a & <b>")
    harness.add(run, *range(10, 60, 10))
    page = visitor.open(harness.url(run))
    wait_for_chart(page, "g.data[0].x.length === 5")
    for kind, start in (("PNG", b"\x89PNG"), ("SVG", b"<svg")):
        with page.expect_download() as download:
            page.get_by_role("button", name=kind, exact=True).click()
        path = tmp_path / kind
        download.value.save_as(path)
        assert path.read_bytes().startswith(start)
    assert "public test data" in path.read_text("utf-8")


@pytest.mark.parametrize("visitor", ["dark", "light"], indirect=True)
def test_the_run_page_shows_every_side_in_the_theme(harness, visitor):
    run = harness.create("deep")
    harness.add(run, *range(10, 110, 10))
    page = visitor.open(harness.url(run, page="run"))
    for key in ("accuracy", "loss", "norms", "clipped", "snr", "phases", "batches"):
        which = f'[data-testid="live-chart-{key}"]'
        page.locator(which).scroll_into_view_if_needed()
        wait_for_chart(page, "g.data.length > 0 && g.data[0].x.length === 10", which)
        text = chart(page, "getComputedStyle(g.closest('.privlab-live')).color", which)
        assert chart(page, "getComputedStyle(g.querySelector('.xtick text')).fill", which) == text
    assert chart(page, "g.data.length", '[data-testid="live-chart-phases"]') == len(PHASES)
    assert chart(page, "g.data.map(t => t.name)", '[data-testid="live-chart-norms"]')[-1] == "C = 1"


def test_nothing_jumps_while_points_arrive(harness, visitor):
    run = harness.create("still")
    page = visitor.open(harness.url(run))
    expect(page.get_by_test_id("live-message-accuracy")).to_be_visible()
    before = page.locator(".privlab-live").bounding_box()
    harness.add(run, *range(10, 110, 10))
    wait_for_chart(page, "g.data[0].x.length === 10")
    harness.store.move(run.id, Status.FAILED, error="Something with a long explanation. " * 20)
    expect(page.get_by_test_id("live-notes")).to_contain_text("still: failed")
    assert page.locator(".privlab-live").bounding_box() == before


def test_assets_may_be_kept_for_ever(harness, visitor):
    page = visitor.page
    answers = []
    page.on("response", lambda answer: answers.append(answer) if "/privlab/assets/" in answer.url else None)
    visitor.open(harness.url())
    expect(page.get_by_test_id("live-message-accuracy")).to_be_visible()
    wait_for_chart(page, "true")
    assert {answer.url.rsplit("/", 1)[-1] for answer in answers} >= {"live.js", "live.css", "plotly.min.js"}
    for answer in answers:
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
