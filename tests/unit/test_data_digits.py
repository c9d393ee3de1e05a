"""The digits' split stands in one place; a change of it would change every record's meaning."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np

from privlab.data.digits import digits
from privlab.encryption.fully import datasets


def fingerprint(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def test_the_split_is_what_it_was() -> None:
    """Golden: of all ten digits, and of zeros and ones as encrypted training takes them."""
    (train_x, train_y), (test_x, test_y) = digits()
    assert (train_x.shape, test_x.shape) == ((1442, 64), (355, 64))
    assert [fingerprint(part) for part in (train_x, train_y, test_x, test_y)] == [
        "dc3965f06891a1fc",
        "9313721fa010b406",
        "ddd065cb36b5646c",
        "ee6ec0ae7823271a",
    ]
    zeros_and_ones = datasets.load("digits01")
    assert [fingerprint(part) for part in (zeros_and_ones.train_x, zeros_and_ones.test_x)] == [
        "6b6a61ed7309f9e8",
        "685e9e7f89c87171",
    ]


def test_no_torch_is_loaded() -> None:
    code = "import privlab.data.digits as d, sys; d.digits(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
