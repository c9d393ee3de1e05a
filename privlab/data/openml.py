"""Fetch one picture data set from OpenML through scikit-learn: ``python openml.py ID RESULT.npz``.

A program of its own, so that it can be watched and ended like any other download client. It imports nothing of PrivLab.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def fetch_rows(data_id: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (records, pixels) and labels (records,) as unsigned bytes, in OpenML's order: training records first.

    Raises:
        OSError: no network, or the download failed.
    """
    from sklearn.datasets import fetch_openml

    # OpenML's ARFF rows are read one by one: pandas would hold several copies of the table.
    x, y = fetch_openml(
        data_id=data_id, data_home=folder, return_X_y=True, as_frame=False, parser="liac-arff", n_retries=1
    )
    return x.astype(np.uint8), y.astype(np.uint8)


def main(arguments: list[str]) -> None:
    data_id, result = int(arguments[0]), Path(arguments[1])
    x, y = fetch_rows(data_id, result.parent)
    np.savez(result, x=x, y=y)


if __name__ == "__main__":
    main(sys.argv[1:])
