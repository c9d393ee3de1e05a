"""Vaults: keys, atomic writes, and refusals in plain words."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from privlab.config import EncryptionConfig
from privlab.encryption import KeyFile, Passphrase, PlainVault, SealedVault, SealError, keys, open_vault
from privlab.files import create_once, replace_atomically


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def quick(text: str) -> Passphrase:
    """A passphrase at a small scrypt cost, so that tests are quick."""
    return Passphrase(text, log2_n=10)


def test_key_file_is_made_on_first_write_and_serves_the_next_vault(home: Path, tmp_path: Path) -> None:
    config = EncryptionConfig(mode="sealed", key="keyfile")
    key = home / "keys" / "privlab.key"
    vault = open_vault(config)
    assert not key.exists()
    vault.write(tmp_path / "file", b"secret")
    assert mode(key) == 0o600 and key.stat().st_size == 32
    assert open_vault(config).read(tmp_path / "file") == b"secret"
    assert b"secret" not in (tmp_path / "file").read_bytes()
    assert mode(tmp_path / "file") == 0o600


def test_another_key_file_does_not_open(home: Path, tmp_path: Path) -> None:
    SealedVault(KeyFile(tmp_path / "a.key")).write(tmp_path / "file", b"secret")
    other = KeyFile(tmp_path / "b.key")
    other.for_sealing()
    with pytest.raises(SealError, match="key file does not open"):
        SealedVault(other).read(tmp_path / "file")


def test_missing_key_file_is_named_and_not_made(tmp_path: Path) -> None:
    SealedVault(KeyFile(tmp_path / "a.key")).write(tmp_path / "file", b"secret")
    (tmp_path / "a.key").unlink()
    with pytest.raises(SealError, match=r"a\.key is missing"):
        SealedVault(KeyFile(tmp_path / "a.key")).read(tmp_path / "file")
    assert not (tmp_path / "a.key").exists()


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_key_file_of_the_wrong_size_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.key").write_bytes(bytes(size))
    with pytest.raises(SealError, match=f"holds {size} bytes; a key has exactly 32"):
        SealedVault(KeyFile(tmp_path / "a.key")).write(tmp_path / "file", b"secret")
    assert not (tmp_path / "file").exists()


def test_two_first_users_get_one_key(tmp_path: Path) -> None:
    create_once(tmp_path / "a.key", b"first")
    create_once(tmp_path / "a.key", b"second")
    assert (tmp_path / "a.key").read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["a.key"]


def test_passphrase_opens_in_another_vault_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    SealedVault(quick("correct horse")).write(tmp_path / "file", b"secret")
    assert SealedVault(quick("correct horse")).read(tmp_path / "file") == b"secret"
    with pytest.raises(SealError, match="passphrase does not open this file"):
        SealedVault(quick("correct horsf")).read(tmp_path / "file")


def test_passphrase_means_the_same_in_every_unicode_form(tmp_path: Path) -> None:
    SealedVault(quick("Z\u00fcrich")).write(tmp_path / "file", b"secret")
    assert SealedVault(quick("Zu\u0308rich")).read(tmp_path / "file") == b"secret"


def test_passphrase_is_stretched_once_for_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, scrypt = [], keys.Scrypt
    monkeypatch.setattr(keys, "Scrypt", lambda **cost: calls.append(cost["n"]) or scrypt(**cost))
    vault = SealedVault(Passphrase("a b c"))
    for name in ("one", "two", "three"):
        vault.write(tmp_path / name, b"secret")
        assert vault.read(tmp_path / name) == b"secret"
    assert calls == [2**17]


def test_kinds_of_key_are_not_mixed_up(tmp_path: Path) -> None:
    SealedVault(quick("a")).write(tmp_path / "by-passphrase", b"secret")
    SealedVault(KeyFile(tmp_path / "a.key")).write(tmp_path / "by-key", b"secret")
    with pytest.raises(SealError, match="sealed with a passphrase"):
        SealedVault(KeyFile(tmp_path / "a.key")).read(tmp_path / "by-passphrase")
    with pytest.raises(SealError, match="sealed with a key file"):
        SealedVault(quick("a")).read(tmp_path / "by-key")


def test_no_or_empty_passphrase_is_refused() -> None:
    with pytest.raises(SealError, match="give the passphrase"):
        open_vault(EncryptionConfig(mode="sealed", key="passphrase"))
    with pytest.raises(SealError, match="empty"):
        open_vault(EncryptionConfig(mode="sealed", key="passphrase"), "")


def test_plain_vault_keeps_bytes_and_names_a_sealed_file(tmp_path: Path) -> None:
    vault = open_vault(EncryptionConfig())
    assert isinstance(vault, PlainVault)
    vault.write(tmp_path / "file", b"open")
    assert vault.read(tmp_path / "file") == (tmp_path / "file").read_bytes() == b"open"
    assert mode(tmp_path / "file") == 0o600
    SealedVault(KeyFile(tmp_path / "a.key")).write(tmp_path / "file", b"secret")
    with pytest.raises(SealError, match="file is sealed"):
        vault.read(tmp_path / "file")


def test_failed_write_leaves_the_old_file_and_no_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_atomically(tmp_path / "file", b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_atomically(tmp_path / "file", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_leftovers_of_killed_writers_are_swept_up(tmp_path: Path) -> None:
    (tmp_path / ".file.0123456789abcdef.part").write_bytes(b"half")
    (tmp_path / ".other.0123456789abcdef.part").write_bytes(b"not mine")
    replace_atomically(tmp_path / "file", b"new")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.0123456789abcdef.part", "file"]


WRITER = """
import sys
from pathlib import Path
from privlab.encryption import KeyFile, SealedVault
vault, n = SealedVault(KeyFile(Path(sys.argv[1]) / "a.key")), 0
while True:
    n += 1
    vault.write(Path(sys.argv[1]) / "file", n.to_bytes(8, "big") * 100_000)
    print(n, flush=True)
"""


def test_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    vault = SealedVault(KeyFile(tmp_path / "a.key"))
    for attempt in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.007 * attempt)
        writer.send_signal(signal.SIGKILL)
        said = [int(line) for line in writer.stdout.read().split()]
        writer.wait()
        writer.stdout.close()
        data = vault.read(tmp_path / "file")
        written = int.from_bytes(data[:8], "big")
        assert data == data[:8] * 100_000
        # What was reported as written is there; at most the next one is there already.
        assert written >= (said[-1] if said else 1)
