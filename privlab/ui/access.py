"""Who looks, and the web process's one Store, opened on first use."""

from __future__ import annotations

import os
from functools import lru_cache

import streamlit as st

from privlab import paths
from privlab.runs.store import Store


def store() -> Store:
    """The store of the present ``PRIVLAB_HOME``. Raises StoreError."""
    return _open(os.environ.get("PRIVLAB_STORE") or str(paths.home()))


def user() -> str:
    """Who looks at the page, where Streamlit's login is in use; else empty."""
    return str(st.user.to_dict().get("email") or "")


@lru_cache(maxsize=4)
def _open(_place: str) -> Store:
    return Store()
