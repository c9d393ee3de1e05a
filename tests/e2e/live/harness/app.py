"""A server with nothing but a live panel, to try it alone: the real routes, feed and store, and no dispatcher."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st

from privlab.ui import served
from privlab.ui.access import store
from privlab.ui.feed import Feed
from privlab.ui.stream import stream_route

FEED = Feed(store)


@asynccontextmanager
async def lifespan(_app):
    yield {}
    await FEED.close()


app = st.App(
    Path(__file__).with_name("main.py"),
    routes=[stream_route(FEED, served.stream_path()), served.asset_route()],
    lifespan=lifespan,
)
