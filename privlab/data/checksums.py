"""SHA-256 of the uncompressed records of each data set: pixels and labels as unsigned bytes, in C order.

For MNIST and Fashion-MNIST the pins were taken from files whose MD5 equalled those of the original releases. CIFAR-10 is
pinned as its package delivers it: the counts and the ten equal classes are those of the original, whose own checksums
cover a packing that cannot be rebuilt from it. Pinning records and not archives lets one pin serve every source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

#: Names of the arrays of every data set, in file order.
PARTS = ("train_x", "train_y", "test_x", "test_y")

SHA256: dict[str, dict[str, str]] = {
    "fashion-mnist": {
        "train_x": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        "train_y": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        "test_x": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
        "test_y": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    },
    "mnist": {
        "train_x": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "train_y": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "test_x": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "test_y": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    },
    "cifar10": {
        "train_x": "9d5c2eddadb0deff02c14c350c0385aab7b1d5ff1edfeb4997c8dc8644960111",
        "train_y": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        "test_x": "177777c33ba79825320efa646ad04a94bdc3c80e4ebe3bd21724f8cdfd4b9d56",
        "test_y": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    },
}


def digest(array: np.ndarray) -> str:
    """SHA-256 of the array's values in C order, as hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def mismatch(key: str, arrays: Mapping[str, np.ndarray]) -> str | None:
    """A sentence naming the first part of ``arrays`` that differs from its pin, or None if every part is right."""
    for part, expected in SHA256[key].items():
        if part not in arrays:
            return f"{part} of {key} is missing."
        found = digest(arrays[part])
        if found != expected:
            return f"{part} of {key} has checksum {found[:12]}…, expected {expected[:12]}…"
    return None
