"""``keys``: named keys of sealed files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from privlab.cli.output import print_record
from privlab.cli.passphrase import read_passphrase
from privlab.config import ConfigError
from privlab.encryption import Passphrase, keybook
from privlab.files import replace_atomically
from privlab.runs.keyuse import KeyUse, key_uses
from privlab.runs.store import Store


def add_key_commands(commands: argparse._SubParsersAction) -> None:
    """Add ``keys`` to the parser's commands."""
    keys = commands.add_parser("keys", help="named keys of sealed files").add_subparsers(
        required=True, metavar="command"
    )

    create = keys.add_parser("create", help="make a key; a run uses it with --set encryption.key_name=NAME")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--source", choices=keybook.SOURCES, default="keyfile", help="where the key is kept")
    create.add_argument(
        "--folder", type=Path, metavar="DIR", help="of its key file; default: PrivLab's own keys folder"
    )
    _passphrase_option(create, "--passphrase-file", "passphrase of a key that opens with one; else it is asked")
    create.set_defaults(act=create_key)

    listing = keys.add_parser("list", help="every key, where it is kept, and the runs that need it")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.set_defaults(act=list_keys)

    rotate = keys.add_parser(
        "rotate", help="put a new key in the place of an old one; goes on where it was interrupted"
    )
    rotate.add_argument("name", metavar="NAME")
    rotate.add_argument("--new-passphrase", action="store_true", help="change the passphrase too")
    rotate.add_argument(
        "--fresh-data-keys",
        action="store_true",
        help="encrypt every file anew, for when the old key was seen by others",
    )
    _passphrase_option(rotate, "--passphrase-file", "the present passphrase; else it is asked")
    _passphrase_option(rotate, "--new-passphrase-file", "the passphrase to come; else it is asked")
    rotate.set_defaults(act=rotate_key)

    destroy = keys.add_parser("destroy", help="make everything that a key sealed unreadable for good")
    destroy.add_argument("name", metavar="NAME")
    destroy.add_argument("--confirm", metavar="NAME", help="the name once more, instead of the question")
    destroy.set_defaults(act=destroy_key)

    export = keys.add_parser("export", help="a key in one file for a safe place, sealed with a passphrase of its own")
    export.add_argument("name", metavar="NAME")
    export.add_argument("--out", type=Path, metavar="FILE", required=True)
    _passphrase_option(export, "--passphrase-file", "passphrase of the backup; else it is asked")
    export.set_defaults(act=export_key)

    back = keys.add_parser("import", help="bring back a key that was exported")
    back.add_argument("file", type=Path, metavar="FILE")
    back.add_argument("--as", dest="name", metavar="NAME", help="another name for it")
    back.add_argument("--source", choices=("keyfile", "keyring"), help="keep it otherwise than before")
    back.add_argument("--folder", type=Path, metavar="DIR", help="of its key file; default: PrivLab's own keys folder")
    _passphrase_option(back, "--passphrase-file", "passphrase of the backup; else it is asked")
    back.set_defaults(act=import_key)


def _passphrase_option(parser: argparse.ArgumentParser, option: str, help: str) -> None:
    parser.add_argument(option, type=Path, metavar="FILE", help=help)


def create_key(given: argparse.Namespace) -> int:
    """Make a key. Raises SealError, ConfigError."""
    secret = None
    if given.source == "passphrase":
        secret = Passphrase(read_passphrase(given.passphrase_file, confirm=True))
    entry = keybook.create_key(given.name, given.source, passphrase=secret, folder=given.folder)
    print(f"Made the key {entry.name}, kept as {keybook.SOURCES[entry.source]}. A run uses it with:")
    print(
        f"  --set encryption.mode=sealed --set encryption.key={entry.source} --set encryption.key_name={entry.name}\n"
        f"Keep a backup in a safe place: python -m privlab keys export {entry.name} --out FILE"
    )
    return 0


def list_keys(given: argparse.Namespace) -> int:
    """One line a key, the default one first."""
    found = keybook.list_keys()
    uses = key_uses(Store(), {info.name: info.files for info in found})
    for info in found:
        use = uses[info.name]
        if given.json:
            print_record(
                {
                    "name": info.name,
                    "source": info.entry.source if info.entry else None,
                    "created": info.entry.created if info.entry else None,
                    "folder": info.entry.folder if info.entry else None,
                    "state": info.state,
                    "runs": [run.id for run in use.runs],
                    "waiting": [run.id for run in use.waiting],
                    "files": [str(path) for path in info.files],
                }
            )
            continue
        kept = f"{keybook.SOURCES[info.entry.source]}, made {keybook.day(info.entry.created)}" if info.entry else ""
        print(f"{info.name}: {info.state}. {kept}")
        for line in _depending(use):
            print(f"  {line}")
    direct = keybook.usage().by_passphrase
    if direct and not given.json:
        print(
            f"{len(direct)} files open with a passphrase directly, without a key that could be rotated or destroyed here."
        )
    return 0


def rotate_key(given: argparse.Namespace) -> int:
    """Rotate, with a line on standard error for each file where somebody is looking. Raises SealError, ConfigError."""
    entry = keybook.Keybook().get(given.name)
    now = later = None
    if entry.source == "passphrase":
        now = Passphrase(read_passphrase(given.passphrase_file, confirm=False))
        if given.new_passphrase or given.new_passphrase_file:
            later = Passphrase(
                read_passphrase(
                    given.new_passphrase_file,
                    confirm=True,
                    what="New passphrase",
                    option="--new-passphrase-file",
                )
            )
    elif given.new_passphrase or given.new_passphrase_file:
        raise ConfigError.at(
            "--new-passphrase", f"the key {given.name} is kept as {entry.source}; it has no passphrase."
        )

    def show(done: int, of: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of {of} files", end="\n" if done == of else "", file=sys.stderr, flush=True)

    done = keybook.rotate_key(
        given.name, passphrase=now, new_passphrase=later, fresh_data_keys=given.fresh_data_keys, progress=show
    )
    first = "The interrupted rotation is finished. " if done.resumed else ""
    print(
        f"{first}{done.files} files now need the new key {done.name}; the old one is destroyed. Backups and exports made "
        "before still need the old one, and a backup of the key made before does not open what is here now."
    )
    return 0


def destroy_key(given: argparse.Namespace) -> int:
    """Say what will be lost, ask, and destroy. Raises SealError, ConfigError."""
    planned = keybook.about_to_destroy(given.name)
    use = key_uses(Store(), {given.name: planned.files})[given.name]
    print(f"Destroying the key {given.name} cannot be undone.")
    for line in _depending(use) or ["No sealed file here needs it."]:
        print(f"  {line}")
    print("What this cannot make sure of:", *(f"- {sentence}" for sentence in planned.cannot_guarantee), sep="\n")
    confirmed = given.confirm
    if confirmed is None:
        if not sys.stdin.isatty():
            raise ConfigError.at(
                "--confirm", f"nothing was destroyed; say --confirm {given.name} where nobody can be asked."
            )
        confirmed = input("Type the key's name to destroy it: ").strip()
    if confirmed != given.name:
        raise ConfigError.at("--confirm", f"{confirmed!r} is not {given.name!r}; nothing was destroyed.")
    done = keybook.destroy_key(given.name)
    print(f"Destroyed. {len(done.files)} sealed files can no longer be opened.")
    return 0


def _depending(use: KeyUse) -> list[str]:
    """What needs a key, a line each."""
    lines = [
        f"run {run.id} ({run.name or 'no name'}, {run.status}{', deleted' if run.deleted else ''}): its checkpoint and weights"
        for run in use.runs
    ]
    lines += [f"run {run.id} ({run.name or 'no name'}, {run.status}): has nothing sealed yet" for run in use.waiting]
    return lines + [f"file {path}" for path in use.others]


def export_key(given: argparse.Namespace) -> int:
    """Write a backup. Raises SealError, ConfigError."""
    if given.out.exists():
        raise ConfigError.at("--out", f"{given.out} exists already; name another file.")
    secret = Passphrase(read_passphrase(given.passphrase_file, confirm=True, what="Passphrase of the backup"))
    try:
        replace_atomically(given.out, keybook.export_key(given.name, secret))
    except OSError as error:
        raise ConfigError.at("--out", f"{given.out} cannot be written: {error.strerror}.") from None
    print(
        f"Wrote the key {given.name} to {given.out}, sealed with the passphrase. Keep both, apart from this computer."
    )
    return 0


def import_key(given: argparse.Namespace) -> int:
    """Bring a key back. Raises SealError, ConfigError."""
    try:
        data = given.file.read_bytes()
    except OSError as error:
        raise ConfigError.at("file", f"{given.file} cannot be read: {error.strerror}.") from None
    secret = Passphrase(read_passphrase(given.passphrase_file, confirm=False, what="Passphrase of the backup"))
    entry = keybook.import_key(data, secret, name=given.name, source=given.source, folder=given.folder)
    print(f"The key {entry.name} is back, kept as {keybook.SOURCES[entry.source]}.")
    return 0
