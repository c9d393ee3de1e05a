"""A bundle is checked to the byte, and a claim that says too little is found though every hash fits."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable

import pytest

from privlab.config import load_preset
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.privacy import epsilon_curve
from privlab.reports import bundle
from privlab.reports.verify import verify
from privlab.runs.record import Run, RunEvent, Status

NAMES = ("config.toml", "plan.json", "claim.json", "claim.md", "points.csv", "accountant.json")


def made(preset: str = "digits", step: int = 20, **settings) -> bytes:
    config = load_preset(preset).replace(**settings)
    plan = preflight(config).plan
    spent = float(epsilon_curve(plan, [step])[0]) if plan.is_private else None
    run = Run("abc", "", Status.FINISHED, config, plan, 1.0, step=step, steps=plan.steps, epsilon=spent)
    event = RunEvent(1, "abc", 1.0, "info", "", {"sensitivity": 1.0})
    return bundle(run, [Point(step, 1.0, 1.0, spent, {})], [event])


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path))


def contents(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def forged(content: bytes, name: str, change: Callable[[dict], None]) -> bytes:
    """The bundle with a member changed and its hash made to fit."""
    members = contents(content)
    document = json.loads(members[name])
    change(document)
    members[name] = json.dumps(document).encode()
    manifest = json.loads(members["manifest.json"])
    if name != "manifest.json":
        manifest["sha256"][name] = hashlib.sha256(members[name]).hexdigest()
        members["manifest.json"] = json.dumps(manifest).encode()
    return packed(members)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"privacy__accountant": "rdp"},
        {"privacy__adjacency": "replace-one"},
        {"privacy__protection": "rounded"},
        {"privacy__clipping": "adaptive"},
        {"privacy__noise_schedule": "linear"},
        {"privacy__bands": 4},
    ],
    ids=str,
)
def test_an_honest_bundle_holds(settings: dict) -> None:
    found = verify(made(**settings), prv_seconds=0)
    assert found.wrong == ()
    assert found.opinions.rdp > found.opinions.pld > 0


@pytest.mark.parametrize("preset", ["no-privacy", "clip-only"])
def test_a_bundle_without_a_claim_holds(preset: str) -> None:
    found = verify(made(preset), prv_seconds=0)
    assert (found.wrong, found.claimed) == ((), None)


def test_weights_travel_as_they_are_and_are_hashed(tmp_path) -> None:
    folder = tmp_path / "runs" / "abc"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"the weights")
    members = contents(made())
    assert members["weights.safetensors"] == b"the weights"
    assert verify(packed(members), prv_seconds=0).wrong == ()
    members["weights.safetensors"] = b"The weights"
    assert "weights.safetensors was changed" in verify(packed(members)).wrong[0]
    del members["weights.safetensors"]
    assert verify(packed(members)).wrong == ("weights.safetensors is missing.",)


@pytest.mark.parametrize("name", NAMES)
def test_one_changed_byte_names_the_member(name: str) -> None:
    members = contents(made())
    members[name] = members[name][:-2] + bytes([members[name][-2] ^ 1]) + members[name][-1:]
    assert verify(packed(members)).wrong == (f"{name} was changed: its SHA-256 is not the manifest's.",)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_member_is_named(name: str) -> None:
    members = contents(made())
    del members[name]
    assert f"{name} is missing." in verify(packed(members)).wrong


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("plan.json", lambda d: d.update(noise_multiplier=2 * d["noise_multiplier"]), "noise_multiplier="),
        ("plan.json", lambda d: d.update(records=10 * d["records"]), "records="),
        ("plan.json", lambda d: d.update(max_grad_norm=9.0), "max_grad_norm="),
        ("claim.json", lambda d: d.update(epsilon=d["epsilon"] / 2), "understated"),
        ("claim.json", lambda d: d.update(delta=1e-3), "δ=0.001"),
        ("claim.json", lambda d: d.update(epsilon=None), "not void"),
        ("accountant.json", lambda d: d.update(epsilon=0.01), "understated"),
        ("accountant.json", lambda d: d.update(step=3), "step"),
        ("plan.json", lambda d: d.pop("records"), "cannot be read"),
        ("manifest.json", lambda d: d.update(schema_version=99), "newer PrivLab"),
    ],
)
def test_a_false_claim_is_found_though_its_hashes_fit(name: str, change: Callable, why: str) -> None:
    assert why in " ".join(verify(forged(made(), name, change), prv_seconds=0).wrong)


def test_a_claim_on_a_known_seed_is_refused() -> None:
    def claims(document: dict) -> None:
        document.update(epsilon=1.0, verdict="valid")

    content = forged(made(privacy__randomness="reproducible"), "claim.json", claims)
    assert "these settings give none" in verify(content).wrong[0]


def test_what_is_no_bundle_is_said() -> None:
    assert "zip" in verify(b"hello").wrong[0]
    assert "manifest" in verify(packed({"a": b""})).wrong[0]
    assert "manifest" in verify(packed({"manifest.json": b"[" * 200_000})).wrong[0]
    assert "folders" in verify(packed({"../evil": b""})).wrong[0]
    assert "zip" in verify(made()[:-40]).wrong[0]


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privlab.reports.verify.MOST_BYTES", 1000)
    assert "refused" in verify(made()).wrong[0]
