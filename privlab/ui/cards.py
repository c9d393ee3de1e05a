"""The presets as a row of cards; a click fills the form."""

from __future__ import annotations

import streamlit as st

from privlab.config import PRESETS
from privlab.ui.draft import fill


def preset_cards(selected: str | None) -> None:
    """Draw one card per preset and mark the one that the form equals."""
    with st.container(key="presets", horizontal=True, wrap=False, gap="small"):
        for preset in PRESETS.values():
            chosen = preset.key == selected
            title = f"✓ {preset.title}" if chosen else preset.title
            st.button(
                f"**{_whole(title)}** {_whole(preset.blurb)}",
                key=f"preset-{preset.key}",
                type="primary" if chosen else "secondary",
                width="stretch",
                wrap=True,
                on_click=fill,
                args=(preset.config,),
            )


def _whole(text: str) -> str:
    """``text`` that is not broken inside “ε = 3”."""
    return text.replace(" = ", "\u00a0=\u00a0")
