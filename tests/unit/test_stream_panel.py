"""Mounting the live panel: what it refuses, and what it hands to the browser."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from privlab.charts.live import TILES, lab_panels
from privlab.ui import live
from privlab.ui.live import LiveRun, live_panel
from privlab.ui.signing import verify


def mounted(monkeypatch, **arguments) -> dict:
    """The data that reaches the browser."""
    seen: dict = {}
    monkeypatch.setattr(live, "_component", lambda height: lambda **given: seen.update(given, boxed=height))
    live_panel("lab", **({"runs": [], "panels": lab_panels(), "tiles": TILES} | arguments))
    return seen


def test_the_ticket_names_exactly_the_shown_runs(monkeypatch):
    data = mounted(monkeypatch, runs=[LiveRun("a", "A"), LiveRun("b", "B")])["data"]
    address, ticket = data["stream"].split("?ticket=")
    assert address == "/privlab/stream"
    assert verify(ticket).run_ids == ("a", "b")


def test_a_rerun_hands_over_the_same_data(monkeypatch):
    runs = [LiveRun("a", "A")]
    assert mounted(monkeypatch, runs=runs) == mounted(monkeypatch, runs=runs)


def test_a_given_look_is_kept(monkeypatch):
    (run, other) = mounted(monkeypatch, runs=[LiveRun("a", "A", colour="#123456", dash="dot"), LiveRun("b", "B")])[
        "data"
    ]["runs"]
    assert (run["colour"], run["dash"]) == ("#123456", "dot")
    assert other["colour"].startswith("#")
    assert other["dash"]


def test_tiles_stand_in_one_row_or_in_as_many_columns_as_asked_for(monkeypatch):
    row = mounted(monkeypatch)
    assert row["data"]["tile_columns"] == len(TILES)
    folded = mounted(monkeypatch, tile_columns=3)
    assert folded["data"]["tile_columns"] == 3
    assert row["boxed"] != folded["boxed"]


def test_a_chart_alone_gives_way_on_a_low_window(monkeypatch):
    alone = mounted(monkeypatch, height=450)
    assert alone["data"]["height"] == "clamp(290px, 100vh - 416px, 450px)"
    assert alone["data"]["height"] in alone["boxed"]
    assert mounted(monkeypatch, panels=lab_panels() * 2)["data"]["height"] == "300px"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"runs": [LiveRun(str(n), "x") for n in range(61)]}, "61 runs"),
        ({"runs": [LiveRun("a", "A"), LiveRun("a", "B")]}, "given once"),
        ({"x": "time"}, "time"),
    ],
)
def test_what_cannot_be_shown_is_refused(monkeypatch, arguments, named):
    with pytest.raises(ValueError, match=named):
        mounted(monkeypatch, **arguments)


def test_it_mounts_in_a_page_and_again():
    def page():
        from privlab.charts.live import TILES, lab_panels
        from privlab.ui.live import LiveRun, live_panel

        live_panel("lab", runs=[LiveRun("a", "A")], panels=lab_panels(), tiles=TILES)

    app = AppTest.from_function(page).run()
    assert not app.exception
    assert not app.run().exception
