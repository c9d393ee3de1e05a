"""The claim of a run as files: for programs and for people."""

from __future__ import annotations

import json

from privlab.reports.claim.card import Claim

#: Version of the form of :func:`claim_json`.
SCHEMA = 1


def claim_json(said: Claim) -> str:
    """The claim for programs; ``epsilon`` is null where nothing is claimed."""
    document = {
        "schema_version": SCHEMA,
        "run": said.run,
        "verdict": said.verdict,
        "headline": said.headline,
        "reasons": list(said.reasons),
        "epsilon": said.epsilon,
        "delta": said.delta,
        "statement": {field.key: {"label": field.label, "value": field.value} for field in said.fields},
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def claim_markdown(said: Claim) -> str:
    """The claim for people, as Markdown."""
    reasons = "".join(f"- {reason}\n" for reason in said.reasons)
    rows = "".join(f"| {field.label} | {field.value.replace('|', '/')} |\n" for field in said.fields)
    return (
        f"# Privacy claim of run {said.run}: {said.verdict}\n\n{said.headline}\n\n{reasons}{chr(10) * bool(reasons)}"
        f"| | |\n|---|---|\n{rows}"
    )
