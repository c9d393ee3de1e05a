"""What the server loads before somebody asks for it."""

from __future__ import annotations

import asyncio

import pytest

from privlab.runs.store import StoreError
from privlab.ui import server


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was loaded, in order; nothing is loaded in truth."""
    found: list[str] = []
    monkeypatch.setattr(server, "_load", lambda names: found.extend(names))
    monkeypatch.setattr(server, "_read_runs", lambda: found.append("runs"))
    monkeypatch.setattr(server, "_LATER_AFTER", 0.01)
    return found


def test_the_lab_comes_first_and_the_runs_last(done: list[str]) -> None:
    async def all_of_it() -> None:
        await server._warm_up(asyncio.Event())

    asyncio.run(all_of_it())
    assert done == [*server._FIRST, *server._LATER, "runs"]


def test_a_server_that_closes_loads_no_more(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_LATER_AFTER", 3600)

    async def closed_at_once() -> None:
        closing = asyncio.Event()
        closing.set()
        await server._warm_up(closing)

    asyncio.run(closed_at_once())
    assert done == list(server._FIRST)


def test_what_is_named_can_be_imported_and_a_broken_store_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.gc, "freeze", lambda: None)
    server._load((*server._FIRST, *server._LATER))

    def broken() -> None:
        raise StoreError("The store cannot be opened.")

    monkeypatch.setattr(server, "store", broken)
    server._read_runs()
