"""Named keys: made, listed, rotated, destroyed, and copied to a safe place. Torch-free."""

from privlab.encryption.keybook.backup import export_key, import_key
from privlab.encryption.keybook.create import create_key
from privlab.encryption.keybook.destroy import Destroyed, about_to_destroy, cannot_guarantee, destroy_key
from privlab.encryption.keybook.entry import DEFAULT, SOURCES, Generation, Keybook, KeyEntry, day
from privlab.encryption.keybook.listing import KeyInfo, list_keys
from privlab.encryption.keybook.named import NamedKey
from privlab.encryption.keybook.rotate import Rotation, rotate_key
from privlab.encryption.keybook.usage import Usage, files_of, usage

__all__ = [
    "DEFAULT",
    "SOURCES",
    "Destroyed",
    "Generation",
    "KeyEntry",
    "KeyInfo",
    "Keybook",
    "NamedKey",
    "Rotation",
    "Usage",
    "about_to_destroy",
    "cannot_guarantee",
    "create_key",
    "day",
    "destroy_key",
    "export_key",
    "files_of",
    "import_key",
    "list_keys",
    "rotate_key",
    "usage",
]
