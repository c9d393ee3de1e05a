"""Looks of runs: legible on both pages, apart from each other, and steady."""

from __future__ import annotations

import pytest

from privlab.charts.style import COLOURS, style, styles

PAGES = ("#ffffff", "#fbfbf8", "#0e1117", "#10191f")


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("colour", COLOURS)
def test_colours_stand_out_on_light_and_dark(colour, page):
    low, high = sorted((luminance(colour), luminance(page)))
    assert (high + 0.05) / (low + 0.05) >= 3


def test_eight_runs_have_eight_colours_and_thirty_two_have_thirty_two_looks():
    ids = [f"{n:010x}" for n in range(32)]
    looks = styles(ids)
    assert len({looks[i].colour for i in ids[:8]}) == 8
    assert len({(looks[i].colour, looks[i].dash) for i in ids}) == 32
    assert set(styles([f"{n}" for n in range(60)])) == {f"{n}" for n in range(60)}


def test_launching_another_run_changes_no_earlier_look():
    ids = [f"run{n}" for n in range(20)]
    before = styles(ids[:-1])
    after = styles(ids)
    assert all(after[i] == before[i] for i in ids[:-1])


def test_runs_of_one_colour_differ_in_dash_and_symbol():
    for place in range(8):
        same = [style(place + 8 * turn) for turn in range(4)]
        assert {look.colour for look in same} == {COLOURS[place]}
        assert len({look.dash for look in same}) == len({look.symbol for look in same}) == 4
