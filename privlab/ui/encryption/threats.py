"""The table that says which protection answers which attack."""

from __future__ import annotations

from html import escape

import streamlit as st

from privlab.encryption.threats import ATTACKS, PROTECTIONS, Help

#: Marks that are told apart by shape, not by colour alone.
_MARKS = {Help.YES: "✓", Help.PARTLY: "◐", Help.NO: "–"}
_STYLE = """
<style>
.privlab-threats { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
.privlab-threats th { font-weight: 600; padding: 0.4rem 0.3rem; vertical-align: bottom; text-align: center; }
.privlab-threats th:first-child, .privlab-threats td:first-child { text-align: left; min-width: 14rem; }
.privlab-threats td { border-top: 1px solid color-mix(in srgb, currentColor 18%, transparent); padding: 0.45rem 0.3rem;
  text-align: center; }
.privlab-threats .yes { background: color-mix(in srgb, #009E73 26%, transparent); font-weight: 700; }
.privlab-threats .part { background: color-mix(in srgb, #B8860B 22%, transparent); }
.privlab-threats .no { opacity: 0.45; }
.privlab-threats [title] { cursor: help; }
</style>
"""


def threat_table() -> None:
    """Attacks against protections; every mark explains itself when pointed at."""
    head = "".join(
        f'<th scope="col" title="{escape(about)}">{escape(name)}</th>' for name, about in PROTECTIONS.values()
    )
    rows = []
    for attack in ATTACKS:
        cells = []
        for key in PROTECTIONS:
            help = attack.answer(key)
            kind = {Help.YES: "yes", Help.PARTLY: "part", Help.NO: "no"}[help]
            why = attack.why.get(key, "Does not help against this.")
            cells.append(f'<td class="{kind}" title="{escape(why)}" aria-label="{help.value}">{_MARKS[help]}</td>')
        rows.append(f'<tr><td title="{escape(attack.about)}"><b>{escape(attack.name)}</b></td>{"".join(cells)}</tr>')
    st.html(
        f'{_STYLE}<table class="privlab-threats"><thead><tr><th scope="col">Attack</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    st.caption(
        "✓ answers it, ◐ in part, – does not help. Point at a mark or a name for the reason. Encryption gives no "
        "differential privacy and differential privacy encrypts nothing: they answer different attacks, and most "
        "people need both."
    )
