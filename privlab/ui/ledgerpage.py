"""The parts of the Ledger: what all runs on a data set cost together."""

from __future__ import annotations

import csv
import io

import pandas as pd
import streamlit as st

from privlab.charts.ledger import ledger_figure
from privlab.data.catalogue import DATASETS
from privlab.runs.ledger import Ledger, best_of, set_public
from privlab.ui import labels, sitemap
from privlab.ui.access import store
from privlab.ui.guard import attempted, escape

_COLUMNS = ("Run", "Name", "State", "Launched", "Steps done", "ε alone", "ε of all up to here")


def section(found: Ledger) -> None:
    """Everything about one data set."""
    title = DATASETS[found.dataset].title if found.dataset in DATASETS else found.dataset
    st.subheader(escape(title), anchor=False)
    st.toggle(
        "The records are public",
        value=found.public,
        key=f"public-{found.dataset}",
        on_change=_mark,
        args=(found.dataset,),
        help="Published records have nothing to protect. The claim cards of its runs say so.",
    )
    if found.public:
        st.info("Marked as public: ε is still counted, and protects nothing that is not known already.")
    figure, words = st.columns([3, 2], gap="medium")
    with figure:
        st.plotly_chart(
            ledger_figure([_name(each) for each in found.private], found.alone, found.cumulative),
            key=f"ledger-{found.dataset}",
        )
    with words:
        _in_words(found)
    rows = _rows(found)
    st.dataframe(
        pd.DataFrame(rows, columns=_COLUMNS), hide_index=True, key=f"table-{found.dataset}", alt=f"Runs on {title}"
    )
    with st.container(horizontal=True, gap="small"):
        for each in [*found.private, *found.unprotected][-6:]:
            if each.state not in ("deleted", "removed"):
                sitemap.link_to_run(each.run_id, _name(each))
    st.download_button(
        "Ledger, CSV",
        lambda: _csv(rows),
        file_name=f"privlab-ledger-{found.dataset}.csv",
        mime="text/csv",
        on_click="ignore",
        key=f"csv-{found.dataset}",
    )


def _in_words(found: Ledger) -> None:
    if found.unprotected:
        count = len(found.unprotected)
        st.warning(
            f"{count} run{'s' * (count > 1)} without a guarantee used these records: for everything together ε = ∞. "
            "The figures below leave them out."
        )
    if not found.private:
        return
    st.metric(
        "Everything published", f"ε = {found.private_runs_epsilon:.4g}", help="Composition of all steps of all runs."
    )
    lines = [
        f"At δ = {found.delta:g}. This holds for whatever is published or chosen among these runs, if which runs there are "
        "was not decided by what earlier ones gave away. Deleted runs count: deleting takes nothing back."
    ]
    logarithmic, geometric = (best_of(found, kind) for kind in ("logarithmic", "geometric"))
    if logarithmic is not None and geometric is not None:
        lines.append(
            f"Only the best published, **under an assumption that a person's own choice does not meet**: if the number of "
            f"runs had been drawn at random beforehand (mean {len(found.private)}) and nothing of the others were ever shown, "
            f"ε = {logarithmic:.4g} (logarithmic) or {geometric:.4g} (geometric distribution; Papernot and Steinke 2022), "
            "each run counted like the costliest."
        )
    st.markdown("\n\n".join(lines))


def _rows(found: Ledger) -> list[tuple]:
    spent = [
        (*_who(each), f"{alone:.4g}", f"{total:.4g}")
        for each, alone, total in zip(found.private, found.alone, found.cumulative, strict=True)
    ]
    return spent + [(*_who(each), "∞", "∞") for each in found.unprotected]


def _who(each) -> tuple:
    return each.run_id, each.name, each.state, labels.clock(each.created), each.step


def _name(each) -> str:
    return each.name or each.run_id


def _csv(rows: list[tuple]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    # A name must not become a spreadsheet's formula.
    writer.writerows((row[0], f"'{row[1]}" if row[1][:1] in tuple("=+-@\t\r") else row[1], *row[2:]) for row in rows)
    return out.getvalue()


def _mark(dataset: str) -> None:
    with attempted():
        set_public(store(), dataset, st.session_state[f"public-{dataset}"])
