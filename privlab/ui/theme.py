"""The look that a configuration file cannot say: preset cards, messages beside fields, plain status marks."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from privlab.runs.record import Status

ICON = str(Path(__file__).with_name("icon.svg"))
WORDMARK = str(Path(__file__).with_name("wordmark.svg"))

ABOUT = (
    "**PrivLab** trains neural networks with differential privacy on this computer and shows what each setting costs. "
    "Nothing leaves this machine."
)

#: A status is told by its word and its mark, never by colour alone.
STATUS_WORDS: dict[Status, str] = {
    Status.QUEUED: "◌ waiting in the queue",
    Status.STARTING: "◍ starting",
    Status.RUNNING: "● training",
    Status.PAUSED: "❙❙ paused",
    Status.STOPPED: "■ stopped",
    Status.FINISHED: "✓ finished",
    Status.FAILED: "✕ failed",
}

_STYLE = """
<style>
/* One screen: the page uses the whole width, with a calm margin. */
[data-testid="stMainBlockContainer"] { padding-left: 1.5rem; padding-right: 1.5rem; }

/* Preset cards: equal buttons that say a title and, below it, a few quiet lines. */
.st-key-presets > div { flex: 1 1 0 !important; min-width: 8.6rem !important; }
[class*="st-key-preset-"] button { min-height: 7rem; padding: 0.4rem 0.6rem; justify-content: flex-start;
  align-items: flex-start; }
[class*="st-key-preset-"] button > div { justify-content: flex-start; width: 100%; }
[class*="st-key-preset-"] button p { font-size: 0.82rem; line-height: 1.2; text-align: left; overflow-wrap: normal; }
[class*="st-key-preset-"] button strong { display: block; font-size: 0.92rem; margin-bottom: 0.15rem; }

@media (max-width: 1360px) {
  .st-key-presets { gap: 0.5rem; }
  .st-key-presets > div { min-width: 7rem !important; }
  [class*="st-key-preset-"] button p { font-size: 0.74rem; }
  [class*="st-key-preset-"] button strong { font-size: 0.82rem; }
}

/* The settings fill the screen's height, so that Launch is always in sight; each field is one line. */
[data-testid="stLayoutWrapper"]:has(> .st-key-settings) { flex-basis: calc(100vh - 19.6rem) !important; min-height: 22rem; }
.st-key-settings, .st-key-settings [data-testid="stVerticalBlock"] { gap: 0.45rem; }
.st-key-settings h3 { padding: 0.6rem 0 0.6rem 0; }

/* Where three columns are too narrow to read, what lies ahead of a launch stands below settings and chart. */
@media (max-width: 1200px) {
  [data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"] .st-key-preview) { flex-wrap: wrap; }
  [data-testid="stColumn"]:has(.st-key-preview) { flex: 1 1 100% !important; min-width: 100%; }
}

/* What is chosen and what leads on must be seen from afar, in both themes. */
button[data-variant="segmented_control"][data-selected] p { font-weight: 700; filter: brightness(1.3); }
[data-testid="stPageLink"] p { font-size: 1rem; font-weight: 400; text-decoration: underline;
  text-underline-offset: 0.2em; white-space: normal; overflow-wrap: anywhere; }
[data-testid="stPageLink"] a { background: none; padding-left: 0; }
.st-key-settings [data-testid="stMarkdownContainer"] p { line-height: 1.2; font-size: 0.92rem; }
.st-key-settings [data-baseweb="select"] div, .st-key-settings [data-testid="stSelectbox"] input { font-size: 0.84rem; }
.st-key-settings [data-testid="stExpanderDetails"] { padding: 0.6rem 0.5rem; }
.st-key-settings [data-testid="stNumberInputContainer"] button[aria-label="Clear value"] { display: none; }

/* Streamlit does not read a password when the Tab key goes from it to its own eye button, so there is none. */
[class*="-passphrase"] [data-testid="stTextInputRootElement"] button { display: none; }

/* The list of runs: one tight line for each. */
.st-key-run-list, .st-key-run-list [data-testid="stVerticalBlock"] { gap: 0.1rem; }
.st-key-run-list button { min-height: 2rem; padding: 0.1rem 0.7rem; }

/* The Budget page: the answer is large, and stands in its field's place like a value in a field. */
.st-key-answer, .st-key-slid { gap: 0.1rem; }
.st-key-answer p, .st-key-slid p { font-size: 0.875rem; }
.st-key-slid { min-width: 7.6rem; }
.st-key-answer-facts { column-gap: 1.75rem; }
.st-key-explorer-facts { column-gap: 1rem; }
.st-key-answer-facts > div, .st-key-explorer-facts > div { width: auto !important; flex: 0 0 auto !important; }
.st-key-explorer-facts [data-testid="stMetricValue"], .st-key-answer-facts [data-testid="stMetricValue"] {
  font-size: 1.3rem; }
.st-key-found { gap: 0.25rem; }
.st-key-found p { font-size: 0.875rem; }
.st-key-found [data-testid="stElementContainer"]:last-child p { font-size: 1rem; line-height: 2.4rem; padding-left: 0.75rem;
  border-left: 0.25rem solid var(--st-primary-color, currentColor); }
.st-key-accountant-words { gap: 0.2rem; }
.st-key-budget-fields [data-testid="stAlertContainer"] { padding: 0.3rem 0.6rem; min-height: 0; }
.st-key-budget-fields [data-testid="stAlertContainer"] p { font-size: 0.9rem; }

/* A problem stands directly below its field and takes no more room than its words. */
.st-key-settings [data-testid="stAlertContainer"] { padding: 0.3rem 0.6rem; min-height: 0; }
.st-key-settings [data-testid="stAlertContainer"] p { font-size: 0.9rem; }
</style>
"""


def dress() -> None:
    """Put PrivLab's style on the page. Call once a script run."""
    st.html(_STYLE)
    st.logo(WORDMARK, size="large")
