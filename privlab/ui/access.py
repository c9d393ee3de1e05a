"""The web process's one Store, opened on first use."""

from __future__ import annotations

import os
from functools import lru_cache

from privlab import paths
from privlab.runs.store import Store


def store() -> Store:
    """The store of the present ``PRIVLAB_HOME``. Raises StoreError."""
    return _open(os.environ.get("PRIVLAB_STORE") or str(paths.home()))


@lru_cache(maxsize=4)
def _open(_place: str) -> Store:
    return Store()
