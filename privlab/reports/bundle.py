"""A run as one file that anybody can check without PrivLab's store: settings, plan, points, claim, hashes."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import asdict

from privlab import __version__
from privlab.metrics import Point
from privlab.preflight import trained_parameters
from privlab.reports.claim import claim, claim_json, claim_markdown
from privlab.reports.exports import points_csv, settings_toml
from privlab.runs.files import weights_path
from privlab.runs.ledger import Ledger
from privlab.runs.record import Run, RunEvent

#: Version of the form of a bundle.
SCHEMA = 1
MANIFEST = "manifest.json"
EVENTS = "events.json"
#: What events of a run its claim rests on: data that they hold, and kinds.
_EVIDENCE = ("sensitivity", "opinions", "void", "weights")
_DECIDED = ("noise-raised", "extended", "imported")


def bundle(run: Run, points: Sequence[Point], events: Sequence[RunEvent] = (), ledger: Ledger | None = None) -> bytes:
    """A zip of the run. Hashes find damage and careless change; they are no signature: who changes a member can change its
    hash too, and then the reckoning of ε is what finds a false claim.

    Args:
        points, events, ledger: of the run, as its store has them.

    Raises:
        OSError: the run's weights cannot be read.
    """
    said = claim(run, events, ledger)
    members = {
        "config.toml": settings_toml(run).encode(),
        "plan.json": _json(run.plan.to_dict()),
        "claim.json": claim_json(said).encode(),
        "claim.md": claim_markdown(said).encode(),
        "points.csv": points_csv([(run, points)]).encode(),
        "accountant.json": _json(_accounted(run, events)),
        EVENTS: json.dumps([_told(event) for event in events if _counts(event)], ensure_ascii=False).encode(),
    }
    weights = weights_path(run)
    if weights.exists():
        members[weights.name] = weights.read_bytes()
    manifest = {
        "schema_version": SCHEMA,
        "privlab": __version__,
        "run": run.origin or run.id,
        "step": run.step,
        "status": run.status.value,
        "created": run.created,
        "attempt": run.attempt,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {MANIFEST: _json(manifest), **members}.items():
            archive.writestr(name, content)
    return out.getvalue()


def _counts(event: RunEvent) -> bool:
    """Whether a claim reads the event; others may name folders of this machine."""
    return event.kind in _DECIDED or any(key in event.data for key in _EVIDENCE)


def _told(event: RunEvent) -> dict:
    return {"time": event.time, "kind": event.kind, "message": event.message, "data": event.data}


def dimension(run: Run) -> int | None:
    """Trained parameters of the run's model; None where it was added elsewhere and nothing needed them."""
    try:
        return trained_parameters(run.config)
    except KeyError:
        return run.plan.dimension


def _accounted(run: Run, events: Sequence[RunEvent]) -> dict:
    opinions = next((event.data["opinions"] for event in reversed(events) if "opinions" in event.data), None)
    private = run.config.privacy.randomness != "reproducible"
    return {
        "step": run.step,
        "delta": run.plan.delta,
        "accountant": run.plan.accountant,
        "epsilon": run.epsilon if private else None,
        "phases": [asdict(phase) for phase in run.plan.phases_until(run.step)],
        "dimension": dimension(run),
        "opinions_of_all_steps": opinions,
    }


def _json(value: dict) -> bytes:
    def finite(each):
        if isinstance(each, dict):
            return {key: finite(inner) for key, inner in each.items()}
        return None if isinstance(each, float) and not math.isfinite(each) else each

    return json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False).encode()
