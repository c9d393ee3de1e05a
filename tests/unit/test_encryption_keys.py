"""Named keys: made, listed, rotated, destroyed, backed up; and shown nowhere."""

from __future__ import annotations

import logging
import pickle
import stat
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from privlab.config import ConfigError, EncryptionConfig, load_preset
from privlab.encryption import KeyFile, Passphrase, SealedVault, SealError, open_vault
from privlab.encryption.keybook import (
    Keybook,
    NamedKey,
    about_to_destroy,
    create_key,
    destroy_key,
    export_key,
    import_key,
    list_keys,
    rotate_key,
    usage,
)
from privlab.encryption.keybook.sources import Material
from privlab.encryption.sealing import HEADER_SIZE, NAMED, RAW_KEY, SCRYPT, lock_of
from tests.unit.test_encryption_sealing import KEY, VERSION_1

CORRECT, OTHER = "correct horse battery staple", "another staple entirely"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "runs").mkdir(parents=True)
    return tmp_path / "home"


def quick(text: str = CORRECT) -> Passphrase:
    """A passphrase at a small scrypt cost, so that tests are quick."""
    return Passphrase(text, log2_n=10)


class FakeKeyring(ModuleType):
    """What the package keyring does, in memory; ``broken`` makes it fail as a locked one does."""

    def __init__(self, priority: float = 5):
        super().__init__("keyring")
        self.kept: dict[tuple[str, str], str] = {}
        self.name, self.priority, self.broken = "fake", priority, False

    def get_keyring(self) -> FakeKeyring:
        return self

    def _check(self, *given: str) -> None:
        if self.broken:
            raise RuntimeError(f"locked: {given}")

    def set_password(self, service: str, account: str, password: str) -> None:
        self._check(service, account, password)
        self.kept[service, account] = password

    def get_password(self, service: str, account: str) -> str | None:
        self._check(service, account)
        return self.kept.get((service, account))

    def delete_password(self, service: str, account: str) -> None:
        del self.kept[service, account]


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> FakeKeyring:
    fake = FakeKeyring()
    monkeypatch.setitem(sys.modules, "keyring", fake)
    return fake


def secret_for(source: str, text: str = CORRECT) -> Passphrase | None:
    return quick(text) if source == "passphrase" else None


def vault(name: str, source: str = "keyfile", text: str = CORRECT) -> SealedVault:
    return SealedVault(NamedKey(name, secret_for(source, text)))


def run_file(home: Path, run: str, name: str = "checkpoint.plab") -> Path:
    (home / "runs" / run).mkdir(exist_ok=True)
    return home / "runs" / run / name


SOURCES = ("keyfile", "passphrase", "keyring")


@pytest.mark.parametrize("source", SOURCES)
def test_a_named_key_seals_and_opens(source: str, home: Path, ring: FakeKeyring) -> None:
    entry = create_key("lab", source, passphrase=secret_for(source))
    path = run_file(home, "a")
    vault("lab", source).write(path, b"secret")
    lock = lock_of(path.read_bytes())
    assert (lock.kdf, lock.salt.hex()) == (NAMED, entry.current.id)
    assert vault("lab", source).read(path) == b"secret"
    assert [(info.name, info.state, info.files) for info in list_keys()] == [("lab", "in use", (path,))]
    for file in (home / "keys").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert len(ring.kept) == (source == "keyring")


def test_the_default_key_has_no_entry_until_it_is_rotated(home: Path) -> None:
    assert list_keys() == []
    path = run_file(home, "a")
    with pytest.raises(FileNotFoundError):
        open_vault(EncryptionConfig(mode="sealed")).read(path)
    assert list_keys() == [], "reading makes no key"
    open_vault(EncryptionConfig(mode="sealed")).write(path, b"secret")
    assert lock_of(path.read_bytes()).kdf == RAW_KEY
    (info,) = list_keys()
    assert (info.name, info.files) == ("privlab", (path,))
    assert not (home / "keys" / "privlab.json").exists()


def test_settings_choose_the_key(home: Path) -> None:
    create_key("lab", "passphrase", passphrase=quick())
    create_key("usb", folder=home)
    path = run_file(home, "a")
    config = EncryptionConfig(mode="sealed", key="passphrase", key_name="lab")
    open_vault(config, CORRECT).write(path, b"secret")
    assert open_vault(config, CORRECT).read(path) == b"secret"
    with pytest.raises(SealError, match="does not open the key “lab”"):
        open_vault(config, OTHER)
    with pytest.raises(SealError, match="give the passphrase"):
        open_vault(config)
    with pytest.raises(SealError, match=r"kept as passphrase, and the settings say encryption\.key=keyfile"):
        open_vault(EncryptionConfig(mode="sealed", key="keyfile", key_name="lab"))
    with pytest.raises(SealError, match="There is no key “lost”"):
        open_vault(EncryptionConfig(mode="sealed", key_name="lost"))
    assert len(list(home.glob("usb.*.key"))) == 1


@pytest.mark.parametrize("name", ["", "A", "../x", "a.b", "a b", "-a", "x" * 41, "ä"])
def test_names_that_cannot_be_files_are_refused(name: str) -> None:
    with pytest.raises(SealError, match="1 to 40 characters"):
        create_key(name)
    if name:
        with pytest.raises(ConfigError, match="1 to 40 characters"):
            load_preset("encrypted").replace(encryption__key_name=name)


def test_a_keyring_key_must_be_named_in_the_settings() -> None:
    with pytest.raises(ConfigError, match="needs a key_name"):
        load_preset("encrypted").replace(encryption__key="keyring")


def test_what_create_refuses(home: Path) -> None:
    create_key("lab")
    for given, says in (
        ({"name": "lab"}, "There is a key “lab” already"),
        ({"name": "privlab"}, "is the default key"),
        ({"name": "x", "source": "cloud"}, "source='cloud' is refused"),
        ({"name": "x", "source": "passphrase"}, "give the passphrase"),
        ({"name": "x", "folder": home / "nowhere"}, "is not there"),
    ):
        with pytest.raises(SealError, match=says):
            create_key(**given)
    assert [info.name for info in list_keys()] == ["lab"]


def test_another_name_and_a_missing_file_are_named(home: Path) -> None:
    create_key("a")
    create_key("b")
    path = run_file(home, "r")
    vault("a").write(path, b"secret")
    with pytest.raises(SealError, match="sealed with the key “a”, not with “b”"):
        vault("b").read(path)
    SealedVault(quick()).write(path, b"secret")
    with pytest.raises(SealError, match="sealed with a passphrase"):
        vault("a").read(path)
    vault("a").write(path, b"secret")
    next((home / "keys").glob("a.*.key")).unlink()
    with pytest.raises(SealError, match=r"key file .*/a\..*\.key is missing"):
        vault("a").read(path)


def test_entries_that_are_damaged_or_from_the_future_are_refused_and_hide_no_other(home: Path) -> None:
    create_key("a")
    create_key("b")
    file = home / "keys" / "a.json"
    good = file.read_text()
    for text, says in (
        (good.replace("privlab-key-1", "privlab-key-2"), "'privlab-key-2'; this PrivLab reads 'privlab-key-1'"),
        (good[:-20], "damaged"),
        ("[]", "damaged"),
        (good.replace('"material": "', '"material": "../'), "damaged"),
        (good.replace('"keyfile"', '"cloud"'), "damaged"),
        (good.replace('"name": "a"', '"name": "b"'), "entry of another key"),
    ):
        assert text != good
        file.write_text(text)
        with pytest.raises(SealError, match=says):
            vault("a").write(run_file(home, "r"), b"secret")
        assert [info.name for info in list_keys()] == ["a", "b"]
        assert list_keys()[1].state == "in use"


@pytest.mark.parametrize("source", SOURCES)
def test_rotation_gives_every_file_the_new_key_and_leaves_the_content(
    source: str, home: Path, ring: FakeKeyring
) -> None:
    create_key("lab", source, passphrase=secret_for(source))
    create_key("other")
    paths = [run_file(home, run) for run in "abc"]
    for path in paths:
        vault("lab", source).write(path, path.parent.name.encode() * 1000)
    foreign = run_file(home, "z")
    vault("other").write(foreign, b"foreign")
    before = {path: path.read_bytes() for path in (*paths, foreign)}
    old = Keybook().get("lab").current
    material = Material(Keybook().get("lab"), home / "keys", secret_for(source)).get(old).reveal()
    seen: list[tuple[int, int]] = []
    done = rotate_key("lab", passphrase=secret_for(source), progress=lambda *at: seen.append(at))
    assert (done.files, done.resumed, seen) == (3, False, [(1, 3), (2, 3), (3, 3)])
    entry = Keybook().get("lab")
    assert entry.current.id != old.id and len(entry.generations) == 1 and not entry.doomed
    for path in paths:
        assert lock_of(path.read_bytes()) == entry.current.lock
        assert path.read_bytes()[HEADER_SIZE:] == before[path][HEADER_SIZE:]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert vault("lab", source).read(path) == path.parent.name.encode() * 1000
    assert foreign.read_bytes() == before[foreign]
    # Of the old key nothing is left, and a copy of an old file says what became of it.
    assert not (home / "keys" / old.material).exists() and ("PrivLab", old.material) not in ring.kept
    assert not any(material in file.read_bytes() for file in home.rglob("*") if file.is_file())
    run_file(home, "copy").write_bytes(before[paths[0]])
    with pytest.raises(SealError, match="earlier key “lab”, which was rotated away"):
        vault("lab", source).read(run_file(home, "copy"))


def test_rotation_with_fresh_data_keys_changes_the_content_too(home: Path) -> None:
    create_key("lab")
    path = run_file(home, "a")
    vault("lab").write(path, b"secret" * 1000)
    before = path.read_bytes()
    rotate_key("lab", fresh_data_keys=True)
    assert path.read_bytes()[HEADER_SIZE:] != before[HEADER_SIZE:]
    assert vault("lab").read(path) == b"secret" * 1000


def test_the_default_key_is_rotated_with_files_of_version_1(home: Path) -> None:
    (home / "keys").mkdir()
    (home / "keys" / "privlab.key").write_bytes(KEY)
    run_file(home, "old").write_bytes(VERSION_1)
    config = EncryptionConfig(mode="sealed")
    assert open_vault(config).read(run_file(home, "old")) == b"sealed by version 1"
    open_vault(config).write(run_file(home, "new"), b"sealed now")
    assert rotate_key("privlab").files == 2
    assert not (home / "keys" / "privlab.key").exists()
    assert open_vault(config).read(run_file(home, "old")) == b"sealed by version 1"
    assert open_vault(config).read(run_file(home, "new")) == b"sealed now"
    run_file(home, "copy").write_bytes(VERSION_1)
    with pytest.raises(SealError, match="rotated away"):
        open_vault(config).read(run_file(home, "copy"))
    assert rotate_key("privlab").files == 2


def test_a_new_passphrase_takes_the_place_of_the_old_one(home: Path) -> None:
    create_key("lab", "passphrase", passphrase=quick())
    path = run_file(home, "a")
    running = vault("lab", "passphrase")
    running.write(path, b"secret")
    with pytest.raises(SealError, match="passphrase does not open the key"):
        rotate_key("lab", passphrase=quick("wrong"), new_passphrase=quick(OTHER))
    with pytest.raises(SealError, match="give the passphrase"):
        rotate_key("lab")
    assert Keybook().get("lab").retired == ()
    rotate_key("lab", passphrase=quick(), new_passphrase=quick(OTHER))
    assert vault("lab", "passphrase", OTHER).read(path) == b"secret"
    # Also for a run that is training with the old one: it has to be asked again.
    for old in (vault("lab", "passphrase"), running):
        with pytest.raises(SealError, match="does not open the key “lab”"):
            old.write(path, b"new")
    assert len(list((home / "keys").glob("lab.*.key"))) == 1
    create_key("plain")
    with pytest.raises(SealError, match="no passphrase to change"):
        rotate_key("plain", new_passphrase=quick())


def test_a_running_vault_seals_with_the_new_key_after_a_rotation(home: Path) -> None:
    create_key("lab")
    running, path = vault("lab"), run_file(home, "a")
    running.write(path, b"first")
    rotate_key("lab")
    running.write(path, b"second")
    assert lock_of(path.read_bytes()) == Keybook().get("lab").current.lock
    assert running.read(path) == b"second"


def test_a_file_that_cannot_be_given_the_new_key_keeps_the_old_one_alive(home: Path) -> None:
    create_key("lab")
    good, bad = run_file(home, "a"), run_file(home, "b")
    vault("lab").write(good, b"good")
    vault("lab").write(bad, b"bad")
    whole = bad.read_bytes()
    bad.write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
    with pytest.raises(
        SealError, match=r"1 of 2 files could not be given the new key, so the earlier key “lab” is kept"
    ):
        rotate_key("lab")
    assert [info.state for info in list_keys()] == ["rotation not finished: rotate it again"]
    assert vault("lab").read(good) == b"good"
    bad.write_bytes(whole)
    assert vault("lab").read(bad) == b"bad"
    done = rotate_key("lab")
    assert (done.files, done.resumed) == (1, True)
    assert vault("lab").read(bad) == b"bad"
    assert [info.state for info in list_keys()] == ["in use"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_destroyed_key_opens_nothing_and_says_so(source: str, home: Path, ring: FakeKeyring) -> None:
    create_key("lab", source, passphrase=secret_for(source))
    path = run_file(home, "a")
    running = vault("lab", source)
    running.write(path, b"secret")
    entry = Keybook().get("lab")
    key = Material(entry, home / "keys", secret_for(source)).get(entry.current).reveal()
    planned = about_to_destroy("lab")
    assert planned.files == (path,) and len(planned.cannot_guarantee) == 4
    assert running.read(path) == b"secret", "asking destroys nothing"
    assert destroy_key("lab") == planned
    for attempt in (lambda: running.write(path, b"new"), lambda: vault("lab", source).write(path, b"new")):
        with pytest.raises(SealError, match="key “lab” was destroyed on"):
            attempt()
    with pytest.raises(SealError, match=r"key “lab”, which was destroyed on .*: it cannot be opened"):
        running.read(path)
    assert path.exists() and not ring.kept
    assert not list((home / "keys").glob("lab.*.key"))
    assert not any(key in file.read_bytes() for file in home.rglob("*") if file.is_file())
    # The name may be used again, by another key.
    create_key("lab", source, passphrase=secret_for(source))
    with pytest.raises(SealError, match="which was destroyed on"):
        vault("lab", source).read(path)
    assert usage().by_unknown == [path]


def test_the_key_file_is_overwritten_before_it_is_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key("lab")
    (file,) = (home / "keys").glob("lab.*.key")
    before, kept = file.read_bytes(), home / "hard-link"
    kept.hardlink_to(file)
    destroy_key("lab")
    assert len(kept.read_bytes()) == len(before) and kept.read_bytes() != before


def test_the_destroyed_default_key_has_a_successor_that_is_not_mistaken_for_it(home: Path) -> None:
    config, old, new = EncryptionConfig(mode="sealed"), run_file(home, "old"), run_file(home, "new")
    open_vault(config).write(old, b"old")
    assert destroy_key("privlab").files == (old,)
    assert not (home / "keys" / "privlab.key").exists()
    open_vault(config).write(new, b"new")
    assert lock_of(new.read_bytes()).kdf == NAMED
    assert open_vault(config).read(new) == b"new"
    with pytest.raises(SealError, match="key “privlab”, which was destroyed"):
        open_vault(config).read(old)


def test_a_medium_that_is_not_there_is_not_reported_as_destroyed(home: Path, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    create_key("lab", folder=stick)
    path = run_file(home, "a")
    vault("lab").write(path, b"secret")
    stick.rename(tmp_path / "away")
    with pytest.raises(SealError, match=r"is not there .* not destroyed"):
        destroy_key("lab")
    assert list_keys()[0].state.startswith("destruction not finished")
    with pytest.raises(SealError, match="is being destroyed"):
        vault("lab").write(path, b"new")
    (tmp_path / "away").rename(stick)
    destroy_key("lab")
    assert not list(stick.iterdir()) and list_keys() == []


@pytest.mark.parametrize("source", SOURCES)
def test_a_backup_brings_a_destroyed_key_back(source: str, home: Path, ring: FakeKeyring) -> None:
    create_key("lab", source, passphrase=secret_for(source))
    path = run_file(home, "a")
    vault("lab", source).write(path, b"secret")
    backup = export_key("lab", quick("for the safe"))
    assert lock_of(backup).kdf == SCRYPT and b"lab" not in backup
    with pytest.raises(SealError, match="There is a key “lab” here already"):
        import_key(backup, quick("for the safe"))
    with pytest.raises(SealError, match="is here already, as “lab”"):
        import_key(backup, quick("for the safe"), name="copy")
    destroy_key("lab")
    with pytest.raises(SealError, match="passphrase does not open"):
        import_key(backup, quick("wrong"))
    with pytest.raises(SealError):
        import_key(backup[:-1] + bytes([backup[-1] ^ 1]), quick("for the safe"))
    import_key(backup, quick("for the safe"))
    assert vault("lab", source).read(path) == b"secret"
    assert [gone.name for gone in Keybook().gone()] == []


def test_the_default_key_is_backed_up_with_its_files_of_version_1(home: Path) -> None:
    (home / "keys").mkdir()
    (home / "keys" / "privlab.key").write_bytes(KEY)
    run_file(home, "old").write_bytes(VERSION_1)
    backup = export_key("privlab", quick())
    destroy_key("privlab")
    with pytest.raises(SealError, match="only be imported under its own name"):
        import_key(backup, quick(), name="other")
    import_key(backup, quick())
    assert open_vault(EncryptionConfig(mode="sealed")).read(run_file(home, "old")) == b"sealed by version 1"


def test_a_backup_moves_between_keyring_and_key_file(home: Path, ring: FakeKeyring) -> None:
    create_key("lab", "keyring")
    backup = export_key("lab", quick())
    destroy_key("lab")
    assert import_key(backup, quick(), source="keyfile").source == "keyfile"
    destroy_key("lab")
    with pytest.raises(SealError, match="cannot be imported as passphrase"):
        import_key(backup, quick(), source="passphrase")
    assert not ring.kept


def test_a_backup_from_the_future_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key("lab")
    with monkeypatch.context() as later:
        later.setattr("privlab.encryption.keybook.backup.FORMAT", "privlab-key-backup-2")
        backup = export_key("lab", quick())
    destroy_key("lab")
    with pytest.raises(SealError, match="this PrivLab reads 'privlab-key-backup-1'"):
        import_key(backup, quick())


def test_without_the_package_keyring_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(SealError, match=r"pip install -r requirements-encryption\.txt"):
        create_key("lab", "keyring")
    assert list_keys() == []


def test_a_system_without_a_safe_keyring_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", FakeKeyring(priority=0.5))
    with pytest.raises(SealError, match=r"chose fake of priority 0\.5"):
        create_key("lab", "keyring")


def test_the_real_package_keeps_and_deletes_a_key(home: Path) -> None:
    """With a backend of our own, since a machine that runs tests seldom has one."""
    import keyring
    from keyring.backend import KeyringBackend

    class Memory(KeyringBackend):
        priority = 1
        kept: ClassVar[dict[tuple[str, str], str]] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.kept[service, username]

    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    try:
        entry = create_key("lab", "keyring")
        vault("lab").write(run_file(home, "a"), b"secret")
        rotate_key("lab")
        assert vault("lab").read(run_file(home, "a")) == b"secret"
        assert list(Memory.kept) != [("PrivLab", entry.current.material)] and len(Memory.kept) == 1
        destroy_key("lab")
        assert not Memory.kept
    finally:
        keyring.set_keyring(before)


def test_what_is_in_the_runs_folder_is_told_apart(home: Path) -> None:
    create_key("lab")
    a, b, c = (run_file(home, run) for run in "abc")
    vault("lab").write(a, b"1")
    SealedVault(quick()).write(b, b"2")
    c.write_bytes(a.read_bytes()[:7] + b"\xff" + a.read_bytes()[8:])
    run_file(home, "d", "weights.safetensors").write_bytes(b"plain")
    run_file(home, "a", ".checkpoint.plab.0123.part").write_bytes(a.read_bytes()[:200])
    found = usage()
    assert (found.by_key, found.by_passphrase, found.by_unknown) == ({"lab": [a]}, [b], [c])


# Nothing shows a key or a passphrase --------------------------------------------------------------------------------------


def everything_that_holds_a_secret(home: Path) -> list[object]:
    secret = quick()
    key = NamedKey("lab", secret)
    SealedVault(key).write(run_file(home, "a"), b"x")
    return [secret, key, SealedVault(key), secret._secret, *key._known.values(), KeyFile(home / "keys" / "privlab.key")]


def test_repr_and_pickle_hold_no_secret(home: Path) -> None:
    entry = create_key("lab", "passphrase", passphrase=quick())
    raw = Material(entry, home / "keys", quick()).get(entry.current).reveal()
    for thing in everything_that_holds_a_secret(home):
        for shown in (repr(thing), str(thing), f"{thing}"):
            assert CORRECT not in shown and raw.hex() not in shown and repr(raw)[2:-1] not in shown
    for thing in (quick(), NamedKey("lab", quick()), quick()._secret):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(thing)
    assert CORRECT not in repr(Keybook().get("lab"))


def test_tracebacks_and_logs_hold_no_secret(home: Path, ring: FakeKeyring, caplog: pytest.LogCaptureFixture) -> None:
    """Not even one that shows every local variable of PrivLab's functions."""
    create_key("lab", "passphrase", passphrase=quick())
    create_key("ring", "keyring")
    entry = Keybook().get("ring")
    keys = [Material(entry, home / "keys").get(entry.current).reveal()]
    path = run_file(home, "a")
    vault("lab", "passphrase").write(path, b"x" * 100)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    ringed = run_file(home, "b")
    vault("ring").write(ringed, b"x" * 100)
    ringed.write_bytes(ringed.read_bytes()[:-1] + b"!")
    right, wrong = quick(), quick(OTHER)
    keys += [right.for_opening(right.lock), wrong.for_opening(wrong.lock)]

    def locked_ring() -> None:
        ring.broken = True
        create_key("more", "keyring")

    attempts = (
        lambda: SealedVault(NamedKey("lab", right)).read(path),
        lambda: SealedVault(NamedKey("ring")).read(ringed),
        lambda: SealedVault(NamedKey("lab", wrong)).read(path),
        lambda: rotate_key("lab", passphrase=wrong, new_passphrase=wrong),
        lambda: create_key("lab", "passphrase", passphrase=right),
        lambda: import_key(export_key("lab", right), wrong),
        locked_ring,
    )
    hidden = 0
    for attempt in attempts:
        try:
            attempt()
            pytest.fail("nothing was refused")
        except SealError as error:
            logging.getLogger("privlab").exception("refused")
            # This function's own variables, and the attempt's, are not PrivLab's.
            inner = error.with_traceback(error.__traceback__.tb_next.tb_next)
            shown = "".join(traceback.TracebackException.from_exception(inner, capture_locals=True).format())
        assert "SealError" in shown
        hidden += any(word in shown for word in ("Secret(…)", "Passphrase(…)", "NamedKey("))
        for text in (shown, caplog.text):
            assert CORRECT not in text and OTHER not in text
            for key in (*keys, *(bytes.fromhex(kept) for kept in ring.kept.values())):
                assert key.hex() not in text and repr(key)[2:-1] not in text
    assert hidden == len(attempts)


def test_no_file_holds_the_passphrase(home: Path) -> None:
    create_key("lab", "passphrase", passphrase=quick())
    vault("lab", "passphrase").write(run_file(home, "a"), b"x")
    rotate_key("lab", passphrase=quick(), new_passphrase=quick(OTHER))
    (home / "backup").write_bytes(export_key("lab", quick("for the safe")))
    files = [file for file in home.rglob("*") if file.is_file()]
    assert len(files) >= 5
    for file in files:
        for text in (CORRECT, OTHER, "for the safe"):
            assert text.encode() not in file.read_bytes() and text not in file.name
