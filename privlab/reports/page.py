"""A report that needs nothing but a browser: charts, claims, settings and self-checks in one HTML file, on screen and on paper."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from plotly.offline import get_plotlyjs

from privlab import __version__
from privlab.metrics import UTILITY
from privlab.reports.claim import Claim
from privlab.runs.record import Run, RunEvent

#: Width of a chart, pixels: what fits on a sheet of A4 or Letter within the margins.
WIDTH = 690
_VERDICTS = {"valid": "✓ Valid", "conditional": "⚠ Conditional", "void": "✗ Void"}
#: Data of events that tell of a check.
_CHECKS = ("sensitivity", "opinions", "held_by_server", "exposures", "void")


@dataclass(frozen=True)
class Subject:
    """One run of a report.

    Attributes:
        name: what it is called.
        settings: every setting in words, by group: (group, setting, value).
    """

    run: Run
    name: str
    claim: Claim
    events: tuple[RunEvent, ...]
    settings: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Chart:
    """A figure as Plotly's JSON, and whose data it shows: lines of :func:`provenance`."""

    figure: str
    provenance: tuple[str, ...]


def provenance(subjects: Sequence[Subject], references: Sequence[str] = ()) -> tuple[str, ...]:
    """What stands below each chart: which of its data were trained here, which came from elsewhere, which were published.

    Args:
        references: published results that the chart draws, in words.
    """
    here = [subject.name for subject in subjects if not subject.run.is_imported]
    there = [f"{subject.name} (run {subject.run.origin})" for subject in subjects if subject.run.is_imported]
    lines = [f"● Real runs, trained by PrivLab here: {', '.join(here)}."] if here else []
    lines += [f"⇣ Imported, trained elsewhere and not seen here: {', '.join(there)}."] if there else []
    lines += [f"★ Published results, for reference: {'; '.join(references)}."] if references else []
    return tuple(lines)


def page(title: str, subjects: Sequence[Subject], charts: Sequence[Chart]) -> str:
    """The report of one run, or of several side by side.

    Settings in which several differ come first, the others are folded. Private diagnostics and timings are left out, since
    no guarantee covers them.

    Args:
        subjects: at least one, in the order of the report.
        charts: in their order.
    """
    rows = [_head(title, subjects), _results(subjects), _charts(charts)]
    rows += [_claim(subject, alone=len(subjects) == 1) for subject in subjects]
    rows += [_settings(subjects), *(_checks(subject, len(subjects) == 1) for subject in subjects), _foot(subjects)]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style></head>\n'
        f"<body><main>\n{''.join(rows)}</main>\n{_scripts(charts)}</body></html>\n"
    )


def _head(title: str, subjects: Sequence[Subject]) -> str:
    what = (
        f"Run {subjects[0].run.id}, trained {'elsewhere and imported' if subjects[0].run.is_imported else 'by PrivLab'}"
        if len(subjects) == 1
        else f"{len(subjects)} runs compared"
    )
    when = time.strftime("%Y-%m-%d")
    return f'<header><h1>{escape(title)}</h1><p class="quiet">{escape(what)} · report of {when}</p></header>\n'


def _results(subjects: Sequence[Subject]) -> str:
    tasks = {subject.run.config.data.task for subject in subjects}
    metrics = [UTILITY[task] for task in UTILITY if task in tasks]
    columns = ["Run", *(metric.label for metric in metrics), "ε spent", "δ", "σ", "C", "Steps", "State"]
    rows = []
    for subject in subjects:
        run, plan = subject.run, subject.run.plan
        found = [run.metrics.get(metric.key) for metric in metrics]
        rows.append(
            [
                subject.name,
                *(
                    "–" if value is None else metric.show(value, 1)
                    for metric, value in zip(metrics, found, strict=True)
                ),
                "∞"
                if subject.claim.verdict == "void" and run.step
                else "–"
                if run.epsilon is None
                else f"{run.epsilon:.4g}",
                f"{plan.delta:g}" if plan.is_private else "–",
                f"{plan.noise_multiplier:.4g}",
                "none" if plan.max_grad_norm is None else f"{plan.max_grad_norm:g}",
                f"{run.step:,} of {run.steps:,}",
                f"{run.status.value}{', imported' if run.is_imported else ''}",
            ]
        )
    return f"<section><h2>Results</h2>{_table(columns, rows)}</section>\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _charts(charts: Sequence[Chart]) -> str:
    drawn = "".join(
        f'<figure><div class="chart" id="chart-{place}"></div><figcaption>{"<br>".join(map(escape, chart.provenance))}'
        "</figcaption></figure>\n"
        for place, chart in enumerate(charts)
    )
    if not charts:
        drawn = "<p>Nothing was measured that could be drawn.</p>"
    return f"<section><h2>Charts</h2>{drawn}</section>\n"


def _claim(subject: Subject, alone: bool) -> str:
    said = subject.claim
    of = "" if alone else f" of {escape(subject.name)}"
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in said.reasons)
    statement = "".join(
        f"<dt>{escape(field.label)}</dt><dd>{escape(field.value)}"
        f"{f'<br><span class=quiet>{escape(field.help)}</span>' if field.help else ''}</dd>"
        for field in said.fields
    )
    return (
        f"<section><h2>Privacy claim{of}</h2>\n"
        f'<div class="claim {said.verdict}"><p><strong>{_VERDICTS[said.verdict]}.</strong> {escape(said.headline)}</p>'
        f"{f'<ul>{reasons}</ul>' if reasons else ''}</div>\n"
        f"<details{' open' if alone else ''}><summary>The full statement</summary><dl>{statement}</dl></details></section>\n"
    )


def _settings(subjects: Sequence[Subject]) -> str:
    if len(subjects) == 1:
        table = _table(("Group", "Setting", "Value"), subjects[0].settings)
        return f"<section><h2>Settings</h2>{table}</section>\n"
    values = [{row[:2]: row[2] for row in subject.settings} for subject in subjects]
    keys = list(dict.fromkeys(key for each in values for key in each))
    differing = [key for key in keys if len({each.get(key) for each in values}) > 1]
    names = [subject.name for subject in subjects]
    rows = [
        [f"{group}: {setting}", *(each.get((group, setting), "–") for each in values)] for group, setting in differing
    ]
    what = _table(("Setting", *names), rows) if rows else "<p>The settings are all alike.</p>"
    same: list[Sequence[str]] = [(*key, values[0][key]) for key in keys if key not in differing]
    return (
        f"<section><h2>What differs</h2>{what}\n<details><summary>The other settings, the same in all</summary>"
        f"{_table(('Group', 'Setting', 'Value'), same)}</details></section>\n"
    )


def _checks(subject: Subject, alone: bool) -> str:
    of = "" if alone else f" of {escape(subject.name)}"
    told = [event.message for event in subject.events if any(key in event.data for key in _CHECKS)]
    rows = "".join(f"<li>{escape(message)}</li>" for message in told)
    return f"<section><h2>Self-checks{of}</h2>{f'<ul>{rows}</ul>' if rows else '<p>None is on record.</p>'}</section>\n"


def _foot(subjects: Sequence[Subject]) -> str:
    imported = any(subject.run.is_imported for subject in subjects)
    more = " What was imported is shown as its bundle says." if imported else ""
    return (
        f'<footer class="quiet">Made by PrivLab {__version__}. Private diagnostics (such as gradient norms and the training '
        f"loss) and timings are left out: no guarantee covers them.{more} This file loads nothing from a network.</footer>\n"
    )


def _scripts(charts: Sequence[Chart]) -> str:
    if not charts:
        return ""
    # "</script" within a name would end the script; JSON may write any character as an escape.
    figures = ",".join(chart.figure.replace("<", "\\u003c") for chart in charts)
    return f"<script>{get_plotlyjs()}</script>\n<script>const FIGURES = [{figures}];\n{_DRAW}</script>\n"


_DRAW = f"""
FIGURES.forEach((figure, place) => Plotly.newPlot(
  "chart-" + place, figure.data,
  {{...figure.layout, width: {WIDTH}, paper_bgcolor: "white", plot_bgcolor: "white"}},
  {{displaylogo: false, displayModeBar: false}}));
// What is folded on the screen is on paper, too.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(each => each.open = true));
"""

_STYLE = f"""
:root {{ color-scheme: light; }}
body {{ margin: 0; background: #fff; color: #1c2530; font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }}
main {{ max-width: {WIDTH}px; margin: 0 auto; padding: 2rem 1.25rem; }}
h1 {{ font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.15rem; margin: 2rem 0 .6rem; border-bottom: 1px solid #d5dbe1; padding-bottom: .2rem; overflow-wrap: anywhere; }}
.quiet, figcaption {{ color: #5a6672; font-size: .85rem; }}
table {{ border-collapse: collapse; width: 100%; font-size: .85rem; }}
th, td {{ text-align: left; padding: .25rem .5rem .25rem 0; border-bottom: 1px solid #e6eaee; vertical-align: top;
  overflow-wrap: anywhere; }}
figure {{ margin: 0 0 1.5rem; }}
.chart {{ width: {WIDTH}px; min-height: 300px; max-width: 100%; overflow-x: auto; }}
.claim {{ border-left: 5px solid; padding: .4rem 1rem; background: #f6f8fa; }}
.claim.valid {{ border-color: #2e7d32; }} .claim.conditional {{ border-color: #b8860b; }} .claim.void {{ border-color: #c0392b; }}
.claim p {{ margin: .3rem 0; }} .claim ul {{ margin: .3rem 0; padding-left: 1.2rem; }}
details {{ margin-top: .8rem; }} summary {{ cursor: pointer; font-weight: 600; }}
dl {{ display: grid; grid-template-columns: 12rem 1fr; gap: .3rem 1rem; font-size: .85rem; }}
dt {{ font-weight: 600; }} dd {{ margin: 0; overflow-wrap: anywhere; }}
footer {{ margin-top: 2.5rem; border-top: 1px solid #d5dbe1; padding-top: .6rem; }}
@page {{ margin: 14mm; }}
@media print {{
  main {{ padding: 0; max-width: none; }} body {{ font-size: 10.5pt; }}
  figure, .claim, tr, dt, dd {{ break-inside: avoid; }} h2 {{ break-after: avoid; }}
  .claim {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
  details::details-content {{ content-visibility: visible; block-size: auto; }} summary {{ list-style: none; }}
}}
"""
