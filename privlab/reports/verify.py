"""Check a bundle without a store or a network: its hashes, its plan, its ε by every accountant."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from safetensors import SafetensorError, deserialize

from privlab.config import ConfigError, RunConfig
from privlab.data.catalogue import DATASETS
from privlab.data.own import is_own, missing
from privlab.models.catalogue import MODELS
from privlab.preflight import trained_parameters
from privlab.privacy.confirm import TOLERANCE, Opinions, second_opinions
from privlab.privacy.plan import PrivacyPlan
from privlab.privacy.planning import make_plan
from privlab.reports.bundle import MANIFEST, SCHEMA
from privlab.reports.pointfile import read_points, understated

#: Most bytes that members may unpack to, together; a bundle holds one small network.
MOST_BYTES = 512 * 2**20
_MOST_MEMBERS = 32
#: Released weights that are not sealed, where the bundle has any.
_WEIGHTS = "weights.safetensors"
#: What reading contents that are not as they should be may raise.
_MALFORMED = (
    ConfigError,
    SafetensorError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
_NEEDED = ("config.toml", "plan.json", "claim.json", "claim.md", "points.csv", "accountant.json")


@dataclass(frozen=True)
class Verified:
    """What was found: ``wrong`` is empty where all is well.

    Attributes:
        run: its id; empty where the bundle could not be read.
        claimed: ε that the bundle claims; None where it claims nothing.
        opinions: ε of the steps done by every accountant; None where there was nothing to reckon.
        wrong: what does not hold, in plain words.
    """

    run: str
    claimed: float | None
    opinions: Opinions | None
    wrong: tuple[str, ...]


def verify(content: bytes, *, prv_seconds: float = 30.0) -> Verified:
    """Check ``content``. Never raises for what a file may hold.

    Args:
        prv_seconds: seconds that Opacus's accountant may take; 0 does not ask it.
    """
    try:
        members, manifest = unpack(content)
    except Unreadable as error:
        return Verified("", None, None, (str(error),))
    run, wrong = str(manifest.get("run", "")), _hashes(members, manifest)
    if wrong:
        return Verified(run, None, None, wrong)
    try:
        return _reckoned(run, members, manifest, prv_seconds)
    except _MALFORMED as error:
        said = "; ".join(each.message for each in error.problems) if isinstance(error, ConfigError) else repr(error)
        return Verified(run, None, None, (f"The bundle's contents cannot be read: {said}",))


class Unreadable(Exception):
    """The bundle cannot be opened; the message says why, in plain words."""


def unpack(content: bytes) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Members by name, and the manifest, which is not among them. Raises Unreadable: damaged, too large, odd names, or newer."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        infos = archive.infolist()
        names = [info.filename for info in infos]
        # Nothing is ever written to disk; odd names are refused all the same, for the reader may unpack the file next.
        if odd := [name for name in names if "/" in name or "\\" in name or name in ("", ".", "..")]:
            raise Unreadable(f"The bundle has a member {odd[0]!r}; names with folders are refused.")
        if len(set(names)) < len(names):
            raise Unreadable("The bundle has two members of one name.")
        size = sum(info.file_size for info in infos)
        if len(infos) > _MOST_MEMBERS or size > MOST_BYTES:
            raise Unreadable(
                f"The bundle has {len(infos)} members of {size:,} bytes; more than {_MOST_MEMBERS} or {MOST_BYTES:,} are refused."
            )
        members = {info.filename: _read(archive, info) for info in infos}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        named = f": {error}" if str(error) else ""
        raise Unreadable(f"This is not an undamaged zip file{named}.") from None
    try:
        manifest = json.loads(members.pop(MANIFEST))
        if not isinstance(manifest["sha256"], dict):
            raise TypeError
        newer = manifest["schema_version"] > SCHEMA
    except (KeyError, TypeError, ValueError, RecursionError):
        raise Unreadable(f"The bundle has no readable {MANIFEST}.") from None
    if newer:
        raise Unreadable(
            f"The bundle was written by a newer PrivLab (schema_version={manifest['schema_version']}, known is {SCHEMA}). "
            "Update PrivLab to check it."
        )
    return members, manifest


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        # The size in the directory may be a lie; one byte more than it shows.
        content = file.read(info.file_size + 1)
    if len(content) > info.file_size:
        raise Unreadable(f"{info.filename} unpacks to more than it says.")
    return content


def _hashes(members: dict[str, bytes], manifest: dict[str, Any]) -> tuple[str, ...]:
    said = manifest["sha256"]
    wrong = [f"{name} is missing." for name in dict.fromkeys((*_NEEDED, *said)) if name not in members]
    wrong += [f"{name} is not in the manifest." for name in members if name not in said]
    wrong += [
        f"{name} was changed: its SHA-256 is not the manifest's."
        for name, content in members.items()
        if name in said and hashlib.sha256(content).hexdigest() != said[name]
    ]
    return tuple(wrong)


def _reckoned(run: str, members: dict[str, bytes], manifest: dict[str, Any], prv_seconds: float) -> Verified:
    config = RunConfig.from_toml(members["config.toml"].decode())
    said, accounted = json.loads(members["claim.json"]), json.loads(members["accountant.json"])
    plan = PrivacyPlan.from_dict(json.loads(members["plan.json"]))
    claimed, step = said["epsilon"], int(manifest["step"])
    wrong = _differences(plan, _made_again(config, members))
    if accounted["step"] != step or not 0 <= step <= plan.steps:
        wrong.append(f"The bundle is of step {step}, its accounting of {accounted['step']} of {plan.steps} steps.")
    if wrong:
        # The settings decide, and they are not what the claim was made from.
        return Verified(run, claimed, None, tuple(wrong))
    if claimed is None:
        agrees = said["verdict"] == "void"
        return Verified(run, None, None, () if agrees else ("The claim is not void and names no ε.",))
    if said["delta"] != plan.delta:
        wrong.append(f"The claim says δ={said['delta']:g} and the plan δ={plan.delta:g}.")
    if not plan.is_private or config.privacy.randomness == "reproducible" or step < 1:
        wrong.append(f"The claim says ε={claimed:.6g}, and these settings give none.")
        return Verified(run, claimed, None, tuple(wrong))
    if said["verdict"] not in ("valid", "conditional"):
        wrong.append(f"The verdict is {said['verdict']!r} beside a finite ε.")
    opinions = second_opinions(
        replace(plan, steps=step, planned_steps=plan.planned_steps or plan.steps), prv_seconds=prv_seconds
    )
    wrong += opinions.flags
    points = read_points(members["points.csv"].decode(), plan)
    if points and points[-1].step != step:
        wrong.append(f"The last point is of step {points[-1].step}, the bundle of step {step}.")
    if said_too_little := understated(points, plan):
        wrong.append(said_too_little)
    # ε of a point may come from a coarser grid, or from the whole run's slack: larger is on the safe side.
    least = opinions.rdp if plan.accountant == "rdp" else opinions.pld
    for name, value in (("claim", claimed), ("accounting", accounted["epsilon"])):
        if value is None or not value >= least - TOLERANCE * max(1.0, least):
            wrong.append(f"The {name} says ε={value}, and the settings cost ε={least:.6g}: the loss is understated.")
    if claimed > least * 1.02 + TOLERANCE:
        wrong.append(f"The claim says ε={claimed:.6g}, and the settings cost only ε={least:.6g}.")
    return Verified(run, claimed, opinions, tuple(wrong))


def _made_again(config: RunConfig, members: dict[str, bytes]) -> PrivacyPlan:
    name = config.data.dataset
    if name not in DATASETS:
        raise ValueError(f"data set {name!r} is unknown.")
    return make_plan(config, DATASETS[name].units(config.data.unit), _dimension(config, members))


def _dimension(config: RunConfig, members: dict[str, bytes]) -> int | None:
    """Trained parameters, which rounded noise alone is reckoned with: of a model that was added elsewhere, those in the bundle."""
    model = config.model.name
    if not is_own(model) or model in MODELS:
        return trained_parameters(config)
    if config.privacy.protection != "rounded":
        return None
    if _WEIGHTS not in members:
        raise ValueError(f"what rounded noise costs depends on the model's size. {missing(model)}")
    return sum(math.prod(tensor["shape"]) for _, tensor in deserialize(members[_WEIGHTS]))


def _differences(plan: PrivacyPlan, again: PrivacyPlan) -> list[str]:
    one, other = plan.to_dict(), again.to_dict()
    same: Callable[[Any, Any], bool] = lambda a, b: (  # noqa: E731
        math.isclose(a, b, rel_tol=1e-9) if isinstance(a, float) and isinstance(b, float) else a == b
    )
    return [
        f"plan.json says {key}={one[key]}, and the settings give {key}={other[key]}."
        for key in other
        if not same(one.get(key), other[key])
    ]
