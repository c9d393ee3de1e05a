"""The page that compares runs. A selection by click is tested in a real browser."""

from __future__ import annotations

import json

from privlab.charts.style import COLOURS
from privlab.runs.record import Status
from privlab.ui import comparepage, labels
from tests.pages.conftest import address, stored


def test_without_runs_it_says_what_to_do(visit) -> None:
    assert any("Launch some in the Lab" in each.value for each in visit("compare").info)


def test_a_deep_link_selects_its_runs(visit, store) -> None:
    first = stored(store, status=Status.FINISHED, points=3, name="a")
    second = stored(store, "strong", status=Status.FINISHED, points=3, name="b")
    stored(store, name="c")
    app = visit("compare", runs=f"{first.id},{second.id}")
    assert address(app, "runs") == f"{first.id},{second.id}"
    (differing,) = (table.value for table in app.table)
    assert list(differing.columns) == ["a", "b"]
    assert list(differing.index) == ["Privacy: Target epsilon ε"]
    assert list(differing.loc["Privacy: Target epsilon ε"]) == ["3", "0.5"]
    assert len(app.dataframe[0].value) == 3


def test_runs_that_are_gone_are_named_and_left_out(visit, store) -> None:
    run = stored(store, status=Status.FINISHED, points=3)
    app = visit("compare", runs=f"{run.id},nosuchrun")
    assert "nosuchrun" in app.warning[0].value
    assert address(app, "runs") == run.id


def test_filters_keep_what_is_chosen(visit, store) -> None:
    first = stored(store, status=Status.FINISHED, points=3, name="apple")
    second = stored(store, name="pear")
    app = visit("compare", runs=f"{first.id},{second.id}")
    app.text_input(key="filter-text").input("PEAR").run()
    assert list(app.dataframe[0].value["Name"]) == ["pear"]
    assert address(app, "runs") == f"{first.id},{second.id}"
    app.selectbox(key="filter-status").select(Status.FAILED).run()
    assert any("No run passes these filters" in each.value for each in app.info)
    assert address(app, "runs") == f"{first.id},{second.id}"


def test_nothing_chosen_says_what_to_do(visit, store) -> None:
    stored(store)
    assert any("Tick runs in the table" in each.value for each in visit("compare").info)


def test_a_run_keeps_its_look_whatever_is_chosen_and_deleted(store) -> None:
    runs = [stored(store, status=Status.FINISHED, points=1, name=name) for name in "abc"]
    (alone,) = labels.live_runs(runs[2:], equal=True)
    beside = labels.live_runs(runs)
    assert [(run.label, run.colour) for run in beside] == list(zip("abc", COLOURS[:3], strict=True))
    assert (alone.colour, alone.dash, alone.symbol) == (beside[2].colour, beside[2].dash, beside[2].symbol)
    store.delete(runs[0].id)
    later = stored(store, name="d")
    assert labels.looks([later])[later.id].colour == COLOURS[3]
    assert labels.looks(runs[2:])[runs[2].id].colour == alone.colour


def test_the_json_knows_of_each_self_check(store) -> None:
    runs = [stored(store, status=Status.FINISHED, points=1) for _ in range(2)]
    store.add_event(runs[0].id, "info", "Self-check passed.", {"sensitivity": 1.0})
    said = [each["privacy"]["verdict"] for each in json.loads(comparepage.everything_json(runs))["runs"]]
    assert said == ["valid", "conditional"]
