"""How a script without PrivLab gets the records of a run: from their public source, or from a file that travels with it."""

from __future__ import annotations

from dataclasses import dataclass

from privlab.data.catalogue import DATASETS, DatasetFacts
from privlab.data.checksums import SHA256
from privlab.models.catalogue import MODELS
from privlab.models.sizes import SCATTER_ANGLES, SCATTER_SCALES, scatter_shape

#: Data sets that OpenML holds record for record as PrivLab has them, by its ids.
_OPENML = {"fashion-mnist": 40996, "mnist": 554, "cifar10": 40927}
#: Name of the file of inputs that travels with a script whose records only PrivLab carries.
DATA_FILE = "data.npz"


@dataclass(frozen=True)
class Source:
    """Where the records come from.

    Attributes:
        imports: lines that the code below needs.
        code: defines ``train_x``, ``train_y``, ``test_x`` and ``test_y`` as NumPy arrays.
        packages: distributions that it imports, besides NumPy.
        travels: whether the inputs come in :data:`DATA_FILE`.
        words: one sentence for people.
    """

    imports: tuple[str, ...]
    code: str
    packages: tuple[str, ...]
    travels: bool
    words: str


def source(dataset: str, folder: str) -> Source:
    """The records of ``dataset``, a key of the catalogue.

    Args:
        folder: an expression for the folder of :data:`DATA_FILE`, a ``pathlib.Path``.

    Raises:
        KeyError: unknown data set.
    """
    facts = DATASETS[dataset]
    if dataset == "digits":
        return _digits(facts)
    if dataset in _OPENML:
        return _openml(facts)
    scale = " / np.float32(255)" if facts.kind == "image" else ""
    code = (
        f"# {facts.source} ({facts.licence}), as the model takes it.\n"
        f'held = np.load({folder} / "{DATA_FILE}")\n'
        f'train_x, test_x = (held[name]{scale} for name in ("train_x", "test_x"))\n'
        'train_y, test_y = held["train_y"], held["test_y"]\n'
    )
    words = f"{facts.title}: {facts.source}. The inputs are in {DATA_FILE}, as the model takes them ({facts.licence})."
    return Source(("from pathlib import Path",), code, (), True, words)


def _digits(facts: DatasetFacts) -> Source:
    code = """\
pixels, labels = load_digits(return_X_y=True)
test = np.zeros(len(labels), dtype=bool)
for digit in range(10):  # every fifth picture of each digit is a test picture
    test[np.flatnonzero(labels == digit)[4::5]] = True
pictures = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
train_x, train_y, test_x, test_y = pictures[~test], labels[~test], pictures[test], labels[test]
"""
    words = f"{facts.source}; every fifth picture of each digit is a test picture."
    return Source(("from sklearn.datasets import load_digits",), code, ("scikit-learn",), False, words)


def _openml(facts: DatasetFacts) -> Source:
    count, digest = facts.train_records, SHA256[facts.key]
    code = f"""\
rows, labels = fetch_openml(data_id={_OPENML[facts.key]}, return_X_y=True, as_frame=False, parser="liac-arff")
rows, labels = rows.astype(np.uint8), labels.astype(np.uint8)
for part, known in (
    (rows[:{count}], "{digest["train_x"]}"),
    (rows[{count}:], "{digest["test_x"]}"),
):
    assert hashlib.sha256(part.tobytes()).hexdigest() == known, "these are not the records of the run"
pictures = (rows / np.float32(255)).reshape(-1, {", ".join(map(str, facts.shape))})
train_x, test_x = pictures[:{count}], pictures[{count}:]
train_y, test_y = labels[:{count}].astype(np.int64), labels[{count}:].astype(np.int64)
"""
    imports = ("import hashlib", "from sklearn.datasets import fetch_openml")
    words = f"{facts.source}, fetched from OpenML; their SHA-256 is compared with that of the run's records."
    return Source(imports, code, ("scikit-learn",), False, words)


@dataclass(frozen=True)
class Features:
    """Fixed features that a script computes of pictures; attributes as of :class:`Source`."""

    imports: tuple[str, ...]
    code: str
    packages: tuple[str, ...]


def features(model: str, dataset: str) -> Features | None:
    """What turns pictures into the model's features; None where it takes the records as they come. Raises KeyError."""
    if MODELS[model].features != "scatter":
        return None
    channels, height, width = scatter_shape(DATASETS[dataset].shape)
    side = DATASETS[dataset].shape[1:]
    code = f"""\
# Fixed wavelet features (Oyallon and Mallat 2015), normalised by each picture's own values: nothing is learnt from the records.
scattering = Scattering2D(J={SCATTER_SCALES}, L={SCATTER_ANGLES}, shape={tuple(side)})


def features(pictures):
    parts = (scattering(part).reshape(-1, {channels}, {height}, {width}) for part in pictures.split(512))
    return torch.cat([F.group_norm(part, {channels // 3}) for part in parts])


train_x, test_x = features(train_x), features(test_x)
"""
    # kymatio needs a SciPy that still has sph_harm.
    return Features(("from kymatio.torch import Scattering2D",), code, ("kymatio", "scipy"))
