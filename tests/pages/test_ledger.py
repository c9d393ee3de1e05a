"""The Ledger page."""

from __future__ import annotations

from privlab.runs.ledger import is_public, set_public
from privlab.runs.record import Status
from tests.pages.conftest import stored


def test_empty(visit, store) -> None:
    assert any("No run has released anything yet" in each.value for each in visit("ledger").info)


def test_every_run_is_listed_and_the_mark_is_one_click(visit, store) -> None:
    first, second = stored(store, points=3, name="mine"), stored(store, points=2)
    store.delete(second.id)
    app = visit("ledger")
    shown = app.dataframe[0].value
    assert list(shown["Run"]) == [first.id, second.id]
    assert shown["State"][1] == "deleted"
    assert list(shown["Page"]) == [f"run?run={first.id}", f"run?run={second.id}"]
    assert [each.value.startswith("ε = ") for each in app.metric] == [True, True]
    assert any("does not hold for runs that a person added" in each.value for each in app.markdown)
    app.toggle[0].set_value(True).run()
    assert not app.exception
    assert is_public(store, "digits")


def test_a_run_without_guarantee_is_said(visit, store) -> None:
    stored(store, "no-privacy", points=2)
    app = visit("ledger")
    assert "ε = ∞" in app.warning[0].value
    assert not app.metric


def test_where_the_best_has_no_known_cost_the_reason_is_said(visit, store) -> None:
    stored(store, points=2, privacy__protection="rounded")
    app = visit("ledger")
    assert app.metric[1].value == "–"
    assert any("not worked out for rounded noise" in each.value for each in app.markdown)
    assert "rounded noise" in app.dataframe[0].value["Settings"][0]


def test_a_removed_run_has_no_page_to_open(visit, store) -> None:
    store.delete(stored(store, points=2).id)
    store.purge(older_than=-1)
    shown = visit("ledger").dataframe[0].value
    assert (list(shown["State"]), list(shown["Page"])) == (["removed"], [None])


def test_the_mark_takes_the_condition_from_the_card(visit, store) -> None:
    run = stored(store, status=Status.FINISHED, points=2)
    stored(store, points=2)
    store.add_event(run.id, "info", "Self-check passed.", {"sensitivity": 1.0})
    assert "1 other run used the same records" in _said(visit("run", run=run.id))
    set_public(store, "digits", True)
    app = visit("run", run=run.id)
    assert "the records are marked as public" in _said(app)
    assert "other run used" not in _said(app)
    assert any("Valid" in each.value for each in app.success)


def _said(app) -> str:
    return "\n".join(each.value for each in app.markdown).replace("\\", "")
