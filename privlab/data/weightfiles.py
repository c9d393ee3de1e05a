"""The folder in which a model's weights are kept: its files, and whether they are still what was written. Torch-free."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from privlab import paths

#: What a model is built from, all in one folder: sizes, tensors, and the tokenizer of the package tokenizers.
CONFIG, TENSORS, TOKENIZER = FILES = ("config.json", "model.safetensors", "tokenizer.json")
#: SHA-256 of each of them as it was written, beside them.
SUMS = "sha256.json"
#: Bytes read at once while a file is hashed or copied.
PIECE = 4 << 20


def weights_folder(key: str) -> Path:
    """Where these weights are kept."""
    return paths.data_dir() / "weights" / key


def file_sha256(path: Path) -> str:
    """SHA-256 of a file as hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_sound(folder: Path) -> bool:
    """Whether the folder holds every file as it was written."""
    try:
        sums = json.loads((folder / SUMS).read_bytes())
        return set(sums) == set(FILES) and all(file_sha256(folder / name) == wanted for name, wanted in sums.items())
    except (OSError, ValueError, TypeError):
        return False
