"""A bundle becomes a run that is marked as imported, whole or not at all; what does not hold leaves nothing behind."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from privlab import paths
from privlab.analysis.facts import Facts
from privlab.config import load_preset
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.privacy import epsilon_curve
from privlab.reports import bundle, claim
from privlab.reports.importing import ImportRefused, import_bundle
from privlab.reports.verify import verify
from privlab.runs import control, estimate
from privlab.runs.files import weights_path
from privlab.runs.ledger import ledger
from privlab.runs.record import Run, RunEvent, Status
from privlab.runs.store import Store
from tests.unit.test_reports_verify import contents, forged, packed

STEPS = (10, 20)
CHECKED = RunEvent(1, "abc1230000", 5.0, "info", "Self-check passed.", {"sensitivity": 1.0})


def made(preset: str = "digits", status: Status = Status.STOPPED, events=(CHECKED,), **settings) -> bytes:
    config = load_preset(preset).replace(**settings)
    plan = preflight(config).plan
    spent = epsilon_curve(plan, STEPS).tolist() if plan.is_private else [None] * len(STEPS)
    points = [
        Point(step, step * plan.sample_rate, 0.5 * step, epsilon, {"test_accuracy": step / 100})
        for step, epsilon in zip(STEPS, spent, strict=True)
    ]
    run = Run("abc1230000", config.name, status, config, plan, 1.0, step=20, steps=plan.steps, epsilon=spent[-1])
    return bundle(run, points, events)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "there"))
    monkeypatch.delenv("PRIVLAB_STORE", raising=False)
    return Store()


def rehashed(content: bytes, name: str, member: bytes) -> bytes:
    """The bundle with another member, and its hash made to fit."""
    members = contents(content)
    members[name] = member
    manifest = json.loads(members["manifest.json"])
    manifest["sha256"][name] = hashlib.sha256(member).hexdigest()
    members["manifest.json"] = json.dumps(manifest).encode()
    return packed(members)


def with_points(change: Callable[[list[dict]], None]) -> bytes:
    content = made()
    rows = list(csv.DictReader(io.StringIO(contents(content)["points.csv"].decode())))
    change(rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return rehashed(content, "points.csv", out.getvalue().encode())


def untouched(store: Store) -> bool:
    """Whether nothing of a run is there; making a bundle leaves its own run's empty folder."""
    return store.list(deleted=None) == [] and not any(path.is_file() for path in paths.runs_dir().rglob("*"))


def test_a_bundle_becomes_an_imported_run(store: Store) -> None:
    content = made(name="theirs")
    run = import_bundle(store, content)
    assert run.is_imported and run.origin == "abc1230000" and run.id != run.origin
    assert (run.name, run.status, run.step) == ("theirs", Status.STOPPED, 20)
    assert run.config == load_preset("digits").replace(name="theirs") and run.plan == preflight(run.config).plan
    points = store.points(run.id)
    assert [point.step for point in points] == [10, 20] and points[-1].epsilon == run.epsilon
    assert points[-1].metrics == run.metrics == {"test_accuracy": 0.2}
    kinds = [event.kind for event in store.events(run.id)]
    assert kinds == ["info", "imported"]


def test_its_claim_says_where_it_is_from(store: Store) -> None:
    run = import_bundle(store, made())
    said = claim(run, store.events(run.id), ledger(store, "digits"))
    assert said.verdict == "conditional"
    assert any("trained elsewhere and imported" in reason for reason in said.reasons)
    assert not any("self-check" in reason for reason in said.reasons)
    fields = {field.key: field.value for field in said.fields}
    assert "abc1230000" in fields["trained"] and "PrivLab" in fields["versions"]


def test_the_ledger_counts_it_as_imported_for_ever(store: Store) -> None:
    run = import_bundle(store, made())
    (spent,) = ledger(store, "digits").private
    assert (spent.imported, spent.step) == (True, 20)
    store.delete(run.id)
    store.purge(older_than=-1)
    (spent,) = ledger(store, "digits").private
    assert (spent.imported, spent.state) == (True, "removed")


def test_a_void_run_stays_void(store: Store) -> None:
    broken = RunEvent(2, "abc1230000", 6.0, "void", "The noise was wrong.", {"void": "The noise was wrong."})
    run = import_bundle(store, made(events=(CHECKED, broken)))
    assert claim(run, store.events(run.id)).verdict == "void"
    assert ledger(store, "digits").private == ()


def test_a_void_claim_stays_void_though_its_reason_is_left_out(store: Store) -> None:
    broken = RunEvent(2, "abc1230000", 6.0, "void", "The noise was wrong.", {"void": "The noise was wrong."})
    run = import_bundle(store, rehashed(made(events=(CHECKED, broken)), "events.json", b"[]"))
    assert claim(run, store.events(run.id)).verdict == "void"
    assert ledger(store, "digits").private == ()


def test_a_void_claim_hides_no_low_point(store: Store) -> None:
    content = with_points(lambda rows: [row.update(epsilon="0.001") for row in rows])
    content = forged(content, "claim.json", lambda said: said.update(epsilon=None, verdict="void"))
    assert verify(content, prv_seconds=0).wrong == ()
    with pytest.raises(ImportRefused, match="understated"):
        import_bundle(store, content)
    assert untouched(store)


def test_how_often_it_was_begun_comes_along_for_the_owners(store: Store) -> None:
    owners = {"encryption__mode": "bfv", "encryption__owners": 3, "training__curve_points": 5}
    content = forged(made(**owners), "manifest.json", lambda manifest: manifest.update(attempt=3))
    silent = forged(content, "manifest.json", lambda manifest: manifest.pop("attempt"))
    with pytest.raises(ImportRefused, match="how often the run was begun"):
        import_bundle(store, silent)
    run = import_bundle(store, content)
    assert run.attempt == 3
    assert "begun again" in " ".join(claim(run, store.events(run.id)).reasons)


def test_it_is_never_trained_on_nor_counted_as_trained_here(store: Store) -> None:
    run = import_bundle(store, made())
    assert control.actions(run) == {"clone", "delete"}
    for act in (control.resume, control.stop, lambda s, i: control.extend(s, i, 1)):
        with pytest.raises(control.RunActionError, match="imported"):
            act(store, run.id)
    assert estimate.seconds_for(store, preflight(run.config)) is None


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("running", Status.STOPPED),
        ("finished", Status.STOPPED),
        ("failed", Status.FAILED),
        ("nonsense", Status.STOPPED),
    ],
)
def test_a_part_of_a_run_is_never_a_finished_one(store: Store, said: str, shown: Status) -> None:
    content = forged(made(), "manifest.json", lambda manifest: manifest.update(status=said))
    run = import_bundle(store, content)
    assert run.status is shown
    conditions = " ".join(claim(run, store.events(run.id)).reasons)
    assert "stopped the run before its last step" in conditions or "ended with an error" in conditions


def test_a_bundle_of_before_events_and_status_were_told_comes_too(store: Store) -> None:
    members = contents(made())
    del members["events.json"]
    manifest = json.loads(members["manifest.json"])
    for key in ("status", "created"):
        del manifest[key]
    del manifest["sha256"]["events.json"]
    members["manifest.json"] = json.dumps(manifest).encode()
    run = import_bundle(store, packed(members))
    assert run.status is Status.STOPPED
    assert any("No passed self-check" in reason for reason in claim(run, store.events(run.id)).reasons)


def test_it_comes_once(store: Store) -> None:
    run = import_bundle(store, made())
    with pytest.raises(ImportRefused, match=f"here already, as {run.id}"):
        import_bundle(store, made())
    store.delete(run.id)
    with pytest.raises(ImportRefused, match="bring it back"):
        import_bundle(store, made())


def test_what_was_trained_here_is_not_imported(store: Store) -> None:
    checked = preflight(load_preset("digits"))
    store.create(checked.config, checked.plan, run_id="abc1230000")
    with pytest.raises(ImportRefused, match="here already"):
        import_bundle(store, made())


def test_an_imported_run_is_bundled_under_its_first_id(store: Store, tmp_path: Path, monkeypatch) -> None:
    run = import_bundle(store, made())
    again = bundle(run, store.points(run.id), store.events(run.id))
    assert verify(again, prv_seconds=0).wrong == ()
    with pytest.raises(ImportRefused, match="here already"):
        import_bundle(store, again)
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "third"))
    assert import_bundle(Store(), again).origin == "abc1230000"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(lambda: b"hello", "zip", id="text"),
        pytest.param(lambda: made()[:-40], "zip", id="truncated"),
        pytest.param(
            lambda: packed(contents(made()) | {"config.toml": b"x"}), "config.toml was changed", id="changed-byte"
        ),
        pytest.param(
            lambda: forged(made(), "manifest.json", lambda m: m.update(schema_version=99)), "newer PrivLab", id="newer"
        ),
        pytest.param(lambda: packed(contents(made()) | {"../evil": b""}), "folders", id="path-trick"),
        pytest.param(
            lambda: forged(made(), "manifest.json", lambda m: m.update(run="../../etc")),
            "no id of a run",
            id="id-trick",
        ),
        pytest.param(
            lambda: forged(made(), "claim.json", lambda c: c.update(epsilon=0.001)), "understated", id="low-claim"
        ),
        pytest.param(lambda: with_points(lambda rows: rows[0].update(epsilon="0.0001")), "understated", id="low-point"),
        pytest.param(lambda: with_points(lambda rows: rows[0].update(step="20")), "must be above", id="twice-a-step"),
        pytest.param(
            lambda: with_points(lambda rows: rows[0].update(test_accuracy="7")), "between 0 and 1", id="over-one"
        ),
        pytest.param(lambda: with_points(lambda rows: rows[0].update(seconds="nan")), "finite", id="not-finite"),
        pytest.param(lambda: with_points(lambda rows: rows.pop()), "last point", id="cut-short"),
        pytest.param(
            lambda: with_points(lambda rows: rows[0].update(test_accuracy="x" * 10)), "Point 1", id="no-number"
        ),
        pytest.param(lambda: rehashed(made(), "events.json", b"[3]"), "cannot be read", id="odd-events"),
        pytest.param(lambda: rehashed(made(), "weights.safetensors", b"no weights"), "safetensors", id="odd-weights"),
    ],
)
def test_what_does_not_hold_leaves_nothing(store: Store, content: Callable[[], bytes], why: str) -> None:
    with pytest.raises(ImportRefused, match=why):
        import_bundle(store, content())
    assert untouched(store)


def test_a_bomb_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privlab.reports.verify.MOST_BYTES", 1000)
    with pytest.raises(ImportRefused, match="refused"):
        import_bundle(store, made())
    assert untouched(store)


def test_weights_come_along(store: Store) -> None:
    weights = safetensors.numpy.save({"1.weight": np.zeros((2, 2), np.float32)})
    run = import_bundle(store, rehashed(made(), "weights.safetensors", weights))
    assert weights_path(run).read_bytes() == weights


def test_a_store_that_fails_leaves_no_weights(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Store, "adopt", full)
    weights = safetensors.numpy.save({"a": np.zeros(2, np.float32)})
    with pytest.raises(OSError, match="no room"):
        import_bundle(store, rehashed(made(), "weights.safetensors", weights))
    assert untouched(store)


def test_events_are_cut_down_to_what_a_claim_reads(store: Store) -> None:
    told = [
        {
            "kind": "resumed",
            "time": "x",
            "message": "m" * 9000,
            "data": {"sensitivity": "1", "opinions": {"rdp": 3, "evil": []}, "more": 1},
        }
    ]
    run = import_bundle(store, rehashed(made(events=()), "events.json", json.dumps(told).encode()))
    first = store.events(run.id)[0]
    assert (first.kind, len(first.message), set(first.data)) == ("info", 2000, {"opinions"})
    assert set(first.data["opinions"]) == {"pld", "pld_library", "rdp", "prv", "reason_prv", "flags"}


@pytest.mark.parametrize("preset", ["no-privacy", "clip-only"])
def test_a_run_without_a_guarantee_comes_without_one(store: Store, preset: str) -> None:
    run = import_bundle(store, made(preset))
    assert run.epsilon is None and claim(run, store.events(run.id)).verdict == "void"


def test_only_a_run_with_an_origin_is_adopted(store: Store) -> None:
    run = replace(import_bundle(store, made()), origin=None)
    with pytest.raises(ValueError, match="origin=None"):
        store.adopt(run, [], [])


def test_comparing_knows_it_as_imported(store: Store) -> None:
    assert Facts.of(import_bundle(store, made())).provenance == "imported"
