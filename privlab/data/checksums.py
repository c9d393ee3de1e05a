"""SHA-256 of the uncompressed records of each data set: pixels, packed texts and labels as unsigned bytes, users as 16 bits, in C order.

For MNIST and Fashion-MNIST the pins were taken from files whose MD5 equalled those of the original releases. CIFAR-10 is
pinned as its package delivers it: the counts and the ten equal classes are those of the original, whose own checksums
cover a packing that cannot be rebuilt from it. Pinning records and not archives lets one pin serve every source.

Of AG News and IMDB no checksum is known here; what is fetched first on a machine is the measure of what comes later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from privlab.data.catalogue import cache_file
from privlab.files import create_once

#: Names of the arrays of a data set that has no pins here, in file order.
PARTS = ("train_x", "train_y", "test_x", "test_y")

#: Of no bytes: a language task has no labels.
_NOTHING = hashlib.sha256().hexdigest()

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
    "movie-sentiment": {
        "train_x": "8b39dc408dbb8bbcab0150b7eaea58578ee1446eba862f0ab7cad096b1496e17",
        "train_y": "78819520a7828c959c53a63503badf6167170b8292b34af821526c1b2aa512b5",
        "test_x": "5d3cc97b312e1ef1d47ea4989055458abffdbb23475906e5e8c64101feaadf27",
        "test_y": "bc4eca33160839301c61e0640cf3485836aed391d98e8cefa50e0155d1384764",
    },
    "shakespeare": {
        "train_x": "981e881d40fc96c7eb7353e434caf290e821dd29dddd12016c107e6c506464f5",
        "train_y": _NOTHING,
        "test_x": "878c472e8734f4750ffb9df23d27ce80fb1530905ac851e9711db7b28ca9a850",
        "test_y": _NOTHING,
    },
    "emails": {
        "train_x": "004c4633874e622741f7ae77238a0251a761d8873a8415f96febe47c682af3da",
        "train_y": _NOTHING,
        "train_u": "3bec56f9de186e3a5c580468ce60828d16048a5666d4ab5070fa2f245d3cbfef",
        "test_x": "59b3b535be96903e619eafbd9bf5c3da45acb47c0a395b3a02caf8dbc07c7b56",
        "test_y": _NOTHING,
        "test_u": "d0c9f6e62243d122b152cf2e701d19e818e908ba9803c6d70666c4606a8ec866",
    },
}


def digest(array: np.ndarray) -> str:
    """SHA-256 of the array's values in C order, as hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def mismatch(key: str, arrays: Mapping[str, np.ndarray]) -> str | None:
    """A sentence naming the first part of ``arrays`` that differs from its pin, or None if every part is right.

    A data set without a pin is compared with what was fetched first on this machine, where there is such a fetch.
    """
    pins = SHA256.get(key) or first_seen(key)
    wanted = "expected" if key in SHA256 else "the first fetch on this machine had"
    for part, expected in pins.items():
        if part not in arrays:
            return f"{part} of {key} is missing."
        found = digest(arrays[part])
        if found != expected:
            return f"{part} of {key} has checksum {found[:12]}…, {wanted} {expected[:12]}…"
    return None


def _first(key: str) -> Path:
    return cache_file(key).with_name("first.json")


def first_seen(key: str) -> dict[str, str]:
    """SHA-256 of each part as it was first fetched on this machine; empty where nothing was."""
    try:
        found = json.loads(_first(key).read_bytes())
        return {part: str(found[part]) for part in PARTS}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError):
        # Not readable is not unknown: to take anything now would be to forget what was promised.
        return dict.fromkeys(PARTS, f"an unreadable {_first(key)}")


def keep_first(key: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Remember what a data set without a pin was when it was first fetched. Raises OSError."""
    if key not in SHA256 and not first_seen(key):
        create_once(_first(key), json.dumps({part: digest(arrays[part]) for part in PARTS}).encode())
