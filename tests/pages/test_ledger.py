"""The Ledger page."""

from __future__ import annotations

from privlab.runs.ledger import is_public
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
    assert app.metric[0].value.startswith("ε = ")
    app.toggle[0].set_value(True).run()
    assert not app.exception
    assert is_public(store, "digits")


def test_a_run_without_guarantee_is_said(visit, store) -> None:
    stored(store, "no-privacy", points=2)
    app = visit("ledger")
    assert "ε = ∞" in app.warning[0].value
    assert not app.metric
