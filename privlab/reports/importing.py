"""Take a run in that was trained elsewhere: its bundle is checked first, and then it is here whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import time
from collections.abc import Mapping
from typing import Any

import safetensors

from privlab import paths
from privlab.config import RunConfig
from privlab.files import replace_atomically
from privlab.privacy.plan import PrivacyPlan
from privlab.reports.bundle import EVENTS
from privlab.reports.pointfile import read_points, understated
from privlab.reports.verify import Unreadable, unpack, verify
from privlab.runs.files import weights_path
from privlab.runs.record import Run, RunEvent, Status
from privlab.runs.store import StatusConflict, Store, new_id

#: What a bundle may weigh, bytes; it holds one small network and its points.
MOST_BYTES = 512 * 2**20
_OVER = {status.value: status for status in (Status.FINISHED, Status.STOPPED, Status.FAILED)}
_ID = re.compile(r"[0-9a-z]{1,32}")
_MOST_EVENTS, _MOST_TEXT, _MOST_ATTEMPTS = 1000, 2000, 10_000
#: Kinds of events that a claim reads; everything else is told as ``info``.
_KINDS = ("info", "warning", "void", "noise-raised", "extended", "imported")


class ImportRefused(ValueError):
    """The bundle was not taken in, and nothing was written; the message says why."""


def import_bundle(store: Store, content: bytes) -> Run:
    """Check ``content`` and store its run as imported: never resumed, never counted as trained here, and in the ledger.

    Raises:
        ImportRefused: not a whole bundle, one that does not hold, or a run that is here already.
        StoreError: the store cannot hold it.
        OSError: its weights cannot be written.
    """
    if len(content) > MOST_BYTES:
        raise ImportRefused(f"The bundle has {len(content):,} bytes; more than {MOST_BYTES:,} are refused.")
    found = verify(content, prv_seconds=0)
    if found.wrong:
        raise ImportRefused(" ".join(found.wrong))
    try:
        members, manifest = unpack(content)
        run, points, events = _read(members, manifest, content)
    except Unreadable as error:
        raise ImportRefused(str(error)) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ImportRefused(f"The bundle's contents cannot be read: {error}") from None
    run_id, weights = new_id(), weights_path(run).name
    kept = _weights(members[weights], weights) if weights in members else None
    folder = paths.runs_dir() / run_id
    try:
        if kept is not None:
            replace_atomically(paths.run_dir(run_id) / weights, kept)
        return store.adopt(run, points, events, run_id=run_id)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, StatusConflict):
            raise ImportRefused(str(error)) from None
        raise


def _read(members: Mapping[str, bytes], manifest: Mapping[str, Any], content: bytes):
    origin = str(manifest["run"])
    if not _ID.fullmatch(origin):
        raise ValueError(f"{origin[:40]!r} is no id of a run.")
    config = RunConfig.from_toml(members["config.toml"].decode())
    plan = PrivacyPlan.from_dict(json.loads(members["plan.json"]))
    points = read_points(members["points.csv"].decode(), plan)
    if not points or points[-1].step != manifest["step"]:
        raise ValueError("it has no points up to its last step, so there is nothing to show.")
    # A void claim is not reckoned, and what is shown here must not depend on what a bundle claims.
    if too_little := understated(points, plan):
        raise ValueError(too_little)
    last, now = points[-1], time.time()
    ended = Status.FINISHED if last.step == plan.steps else Status.STOPPED
    status = _OVER.get(str(manifest.get("status")), ended)
    if status is Status.FINISHED:
        status = ended
    run = Run(
        "",
        config.name,
        status,
        config,
        plan,
        now,
        ended=now,
        step=last.step,
        steps=plan.steps,
        epsilon=last.epsilon,
        metrics=last.metrics,
        seconds=last.seconds,
        attempt=_attempts(manifest, plan),
        error="It ended with an error where it was trained." if status is Status.FAILED else None,
        origin=origin,
    )
    events = [*_events(members), *_void(members, run, now), _imported(members, manifest, content, now)]
    return run, points, events


def _attempts(manifest: Mapping[str, Any], plan: PrivacyPlan) -> int:
    """How often the run was begun, which owners saw: their ε depends on it."""
    told = manifest.get("attempt")
    if isinstance(told, int) and 0 <= told <= _MOST_ATTEMPTS:
        return told
    if plan.owners > 1:
        raise ValueError(
            "it does not say how often the run was begun, on which the other owners' ε depends; make it anew."
        )
    return 0


def _void(members: Mapping[str, bytes], run: Run, now: float) -> list[RunEvent]:
    """A claim that was void where the run was trained stays so, whatever else its bundle tells or leaves out."""
    said = json.loads(members["claim.json"])
    if said["verdict"] != "void" or not run.plan.is_private or run.config.privacy.randomness == "reproducible":
        return []
    words = f"Its bundle claims nothing: {str(said['headline'])[:_MOST_TEXT]}"
    return [RunEvent(0, "", now, "void", words, {"void": words})]


def _imported(members: Mapping[str, bytes], manifest: Mapping[str, Any], content: bytes, now: float) -> RunEvent:
    """Where the run is from, as its bundle says."""
    versions = str(json.loads(members["claim.json"])["statement"]["versions"]["value"])[:_MOST_TEXT]
    said = {
        "versions": versions,
        "sha256": hashlib.sha256(content).hexdigest(),
        "created": _finite(manifest.get("created")),
    }
    words = f"Imported: trained elsewhere as run {manifest['run']}, by PrivLab {str(manifest.get('privlab'))[:40]}."
    return RunEvent(0, "", now, "imported", words, said)


def _events(members: Mapping[str, bytes]) -> list[RunEvent]:
    """What the bundle tells of the run, cut down to what a claim reads."""
    told = json.loads(members.get(EVENTS, b"[]"))
    if not isinstance(told, list) or len(told) > _MOST_EVENTS:
        raise ValueError(f"{EVENTS} is no list of at most {_MOST_EVENTS:,} events.")
    found = []
    for each in told:
        kind = each["kind"] if each["kind"] in _KINDS else "info"
        found.append(
            RunEvent(0, "", _finite(each["time"]) or 0.0, kind, str(each["message"])[:_MOST_TEXT], _data(each["data"]))
        )
    return found


def _data(told: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (sensitivity := _finite(told.get("sensitivity"))) is not None:
        found["sensitivity"] = sensitivity
    if "void" in told:
        found["void"] = str(told["void"])[:_MOST_TEXT]
    if isinstance(weights := told.get("weights"), dict):
        found["weights"] = {name: str(weights.get(name, ""))[:_MOST_TEXT] for name in ("source", "revision", "sha256")}
    if isinstance(opinions := told.get("opinions"), dict):
        numbers = {key: _finite(opinions.get(key)) for key in ("pld", "pld_library", "rdp", "prv")}
        flags = [str(flag)[:_MOST_TEXT] for flag in opinions.get("flags", ())]
        found["opinions"] = numbers | {"reason_prv": str(opinions.get("reason_prv", ""))[:_MOST_TEXT], "flags": flags}
    return found


def _finite(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None


def _weights(content: bytes, name: str) -> bytes:
    """Weights in clear must be a safetensors file, which holds numbers and no code; sealed ones are kept as they are."""
    if name.endswith(".safetensors"):
        try:
            safetensors.deserialize(content)
        except safetensors.SafetensorError as error:
            raise ImportRefused(f"{name} is no safetensors file: {error}.") from None
    return content
