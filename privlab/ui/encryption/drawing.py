"""A field to draw a digit on."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import streamlit as st

from privlab.ui import served

_CSS = """
.privlab-draw { display: flex; gap: 16px; align-items: flex-start; font-family: var(--st-font); color: var(--st-text-color);
  min-height: 280px; }
.privlab-field { width: 280px; height: 280px; flex: none; border-radius: var(--st-base-radius); cursor: crosshair;
  touch-action: none; border: 1px solid var(--st-border-color); }
.privlab-field:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
.privlab-beside { display: flex; flex-direction: column; gap: 8px; width: 120px; font-size: 13px; }
.privlab-seen { width: 96px; height: 96px; image-rendering: pixelated; border: 1px solid var(--st-border-color); }
.privlab-clear { font: inherit; color: inherit; cursor: pointer; background: transparent; padding: 4px 10px;
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius); }
"""


def draw_digit(key: str) -> np.ndarray | None:
    """Mount the field; the drawing as the digits data set has its pictures: (64,) in 0…1, row by row. None without ink."""
    said = _component()(key=key, data={"module": served.url("draw.js")}, on_pixels_change=_nothing)
    counts = said.get("pixels") if isinstance(said, dict) else getattr(said, "pixels", None)
    if not isinstance(counts, list) or len(counts) != 64:
        return None
    return np.clip(np.asarray(counts, dtype=np.float64), 0, 16) / 16


@cache
def _component() -> Any:
    return st.components.v2.component(
        "privlab_draw", html='<div class="privlab-draw"></div>', css=_CSS, js=served.boot(), isolate_styles=False
    )


def _nothing() -> None:
    """A rerun is all that the browser asks for."""
