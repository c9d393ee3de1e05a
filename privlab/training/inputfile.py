"""The inputs of a run as one NumPy file, for a program that trains without PrivLab: ``python -m privlab.training.inputfile FILE``.

The settings come as JSON on the standard input. A process of its own, because features and tokens need torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from privlab.config import RunConfig
from privlab.data.catalogue import DATASETS
from privlab.data.load import DataMissing, load
from privlab.models.catalogue import MODELS
from privlab.training.inputs import inputs

#: Largest pixel value.
_WHITE = 255


def input_arrays(config: RunConfig) -> dict[str, np.ndarray]:
    """``train_x``, ``train_y``, ``test_x``, ``test_y`` as the model takes them; pictures as bytes 0…255, before any features.

    Wavelet features are left to the program: they follow from the pictures and are thirty times as large.

    Raises:
        KeyError, DataMissing, FeaturesError, ValueError: as :func:`privlab.training.inputs.inputs`.
    """
    key = config.data.dataset
    pictures = DATASETS[key].kind == "image" and MODELS[config.model.name].features in (None, "scatter")
    found = load(key) if pictures else inputs(config)
    arrays = {name: getattr(found, name).numpy() for name in ("train_x", "train_y", "test_x", "test_y")}
    if pictures:
        arrays |= {name: np.rint(arrays[name] * _WHITE).astype(np.uint8) for name in ("train_x", "test_x")}
    return arrays


def main(arguments: list[str]) -> int:
    """Write the file; 1, with a sentence on standard error, where the inputs are not to be had."""
    try:
        np.savez_compressed(Path(arguments[0]), **input_arrays(RunConfig.from_json(sys.stdin.read())))
    except DataMissing as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
