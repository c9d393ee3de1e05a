"""How a job in a process of its own tells what it does: a JSON object a line, each with its ``kind``."""

from __future__ import annotations

import json
from typing import Any


def say(kind: str, **fields: Any) -> None:
    """Print one line, at once. Raises TypeError for fields that JSON does not know."""
    print(json.dumps({"kind": kind, **fields}), flush=True)
