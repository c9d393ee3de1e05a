"""How a finished language model is asked to go on with a text. None of it touches the guarantee: the weights are released already."""

from __future__ import annotations

from privlab.config.knobs import knob
from privlab.config.section import Section


class WritingConfig(Section):
    """One request for text."""

    prompt: str = knob(
        "",
        label="Beginning",
        help="The text that the model goes on with.",
    )
    tokens: int = knob(
        60,
        ge=1,
        le=1000,
        label="Length",
        unit="tokens at most",
        step=10,
        help="The small GPT writes byte by byte, so a token is a letter; other models write parts of words.",
    )
    temperature: float = knob(
        0.0,
        ge=0,
        le=5,
        label="Temperature",
        step=0.1,
        format="%.2g",
        help="0 takes the likeliest token each time (greedy), which recites best; above, the model draws among likely ones.",
    )
    top_k: int = knob(
        40,
        ge=0,
        le=100_000,
        label="Top k",
        unit="tokens; 0: all",
        step=10,
        expert=True,
        help="Draw among so many likeliest tokens only.",
    )
    beams: int = knob(
        1,
        ge=1,
        le=16,
        label="Beams",
        step=1,
        expert=True,
        help="More than 1 searches for the likeliest whole text with so many beginnings at once; the temperature then does not "
        "matter, and the text comes all at once.",
    )
    seed: int | None = knob(
        None, ge=0, le=2**31 - 1, label="Seed", expert=True, help="The same seed draws the same text again."
    )
