"""What the web server does besides running pages: routes of our own, and the start and end of background work."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import streamlit as st

from privlab.runs import measuring
from privlab.runs.dispatcher import Dispatcher
from privlab.runs.store import StoreError
from privlab.sweeps.conductor import Conductor
from privlab.ui import served
from privlab.ui.access import store
from privlab.ui.budget.route import answer_route
from privlab.ui.compare.library import library
from privlab.ui.encryption import jobs
from privlab.ui.feed import Feed
from privlab.ui.stream import stream_route

_log = logging.getLogger(__name__)

#: The main script, which registers the pages.
MAIN = Path(__file__).with_name("main.py")
FEED = Feed(store)
ROUTES = [stream_route(FEED, served.stream_path()), served.asset_route(), answer_route()]

#: What the first look at the Lab would otherwise wait for …
_FIRST = (
    "pandas",
    "plotly.graph_objects",
    "scipy.fft",
    "scipy.optimize",
    "scipy.signal",
    "privlab.preflight",
    "privlab.charts.compare",
    "privlab.charts.budget",
    "privlab.ui.budget.accountants",
    "privlab.ui.budget.explorer",
)
#: … and the first look at Compare and Sweeps, so many seconds later, when the Lab has been drawn.
_LATER = (
    "plotly.tools",
    "pyarrow.pandas_compat",
    "privlab.ui.compare.page",
    "privlab.ui.sweeps.view",
    "privlab.ui.sweeps.form",
)
_LATER_AFTER = 3


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[dict[str, Any]]:
    """Start dispatcher and conductor with the server; at its end (Ctrl-C) let runs reach a checkpoint and pause."""
    # Scripts compute for tenths of a second; answers and streams should not wait in turns of 5 ms for them.
    sys.setswitchinterval(0.0005)
    dispatcher = await asyncio.to_thread(_start_dispatcher)
    conductor = None
    if dispatcher is not None:
        conductor = Conductor(store(), lambda: dispatcher.active)
        conductor.start()
    closing = asyncio.Event()
    warm_up = asyncio.create_task(_warm_up(closing))
    try:
        yield {"dispatcher": dispatcher}
    finally:
        closing.set()
        await warm_up
        await FEED.close()
        await asyncio.to_thread(jobs.stop_all)
        await asyncio.to_thread(measuring.stop_all)
        if conductor is not None:
            await asyncio.to_thread(conductor.stop)
        if dispatcher is not None:
            print("Waiting for runs to reach a checkpoint …", file=sys.stderr)
            await asyncio.to_thread(dispatcher.stop)


def _start_dispatcher() -> Dispatcher | None:
    """The running dispatcher; None where the store cannot be opened, which every page then explains."""
    try:
        dispatcher = Dispatcher(store())
    except (StoreError, OSError) as error:
        _log.error("No runs can be started: %s", error)
        return None
    dispatcher.start()
    return dispatcher


async def _warm_up(closing: asyncio.Event) -> None:
    """Load what pages need before somebody asks for it; the Lab's first look waits for nothing of the others."""
    await asyncio.to_thread(_load, _FIRST)
    with suppress(TimeoutError):
        await asyncio.wait_for(closing.wait(), _LATER_AFTER)
        return
    await asyncio.to_thread(_load, _LATER)
    await asyncio.to_thread(_read_runs)


def _load(names: Sequence[str]) -> None:
    """Import, then take all of it out of the garbage collector's sight: it is never garbage."""
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _read_runs() -> None:
    """All runs as Compare knows them; where the store cannot be read, every page says so."""
    with suppress(StoreError, OSError):
        library(store()).entries()
