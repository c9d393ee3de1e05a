"""Where the 32 bytes of a generation are kept: a key file, a file that only a passphrase opens, or the OS keyring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from privlab.encryption.keybook.entry import Generation, KeyEntry, write
from privlab.encryption.keys import KEY_SIZE, KeyFile, Passphrase
from privlab.encryption.sealing import RAW_KEY, Lock, SealError, seal, unseal
from privlab.encryption.secret import Secret
from privlab.files import overwrite_and_unlink

_SERVICE = "PrivLab"
#: The keyring package calls backends of lower priority not suitable: they keep nothing, or keep it in the clear.
_LEAST_PRIORITY = 1


class Material:
    """Keeps, gives out and destroys the key material of one named key.

    Args:
        entry: the key.
        folder: PrivLab's keys folder, used where the key has no folder of its own.
        passphrase: what a key of source ``passphrase`` is kept under.
    """

    def __init__(self, entry: KeyEntry, folder: Path, passphrase: Passphrase | None = None):
        self._entry = entry
        self._folder = Path(entry.folder) if entry.folder else folder
        self._passphrase = passphrase

    def put(self, generation: Generation, key: Secret) -> None:
        """Keep ``key``, durable on return. Raises SealError."""
        if self._entry.source == "keyring":
            _keyring_call("set_password", generation.material, key)
        elif self._entry.source == "passphrase":
            secret = self._needed()
            bound = Secret(bytes.fromhex(generation.id) + key.reveal())
            sealed = seal(bound.reveal(), secret.lock, secret.for_sealing())
            write(self._folder / generation.material, sealed)
        else:
            write(self._folder / generation.material, key.reveal())

    def get(self, generation: Generation) -> Secret:
        """The 32 bytes. Raises SealError: missing, damaged, or a wrong passphrase."""
        if self._entry.source == "keyring":
            return self._from_keyring(generation)
        path = self._folder / generation.material
        if self._entry.source == "keyfile":
            return Secret(KeyFile(path).for_opening(Lock(RAW_KEY)))
        secret = self._needed()
        try:
            bound = Secret(unseal(path.read_bytes(), secret.for_opening))
        except FileNotFoundError:
            raise SealError(f"The file {path} of the key “{self._entry.name}” is missing.") from None
        except SealError:
            raise SealError(
                f"The passphrase does not open the key “{self._entry.name}”: it is the wrong one, or {path.name} was changed."
            ) from None
        if bound.size != 16 + KEY_SIZE or bound.reveal()[:16].hex() != generation.id:
            raise SealError(f"The file {path} holds another key than “{self._entry.name}” needs.")
        return Secret(bound.reveal()[16:])

    def raw(self, generation: Generation) -> Secret:
        """What is kept, as it is kept: for a backup."""
        if self._entry.source == "keyring":
            return self._from_keyring(generation)
        try:
            return Secret((self._folder / generation.material).read_bytes())
        except FileNotFoundError:
            raise SealError(
                f"The file {self._folder / generation.material} of the key “{self._entry.name}” is missing."
            ) from None

    def put_raw(self, generation: Generation, kept: Secret) -> None:
        """Keep again what :meth:`raw` gave."""
        if self._entry.source == "keyring":
            _keyring_call("set_password", generation.material, kept)
        else:
            write(self._folder / generation.material, kept.reveal())

    def destroy(self, material: str) -> None:
        """Overwrite and remove; nothing happens where it is gone already. Raises SealError where it cannot be reached."""
        if self._entry.source == "keyring":
            if _keyring_call("get_password", material) is not None:
                _keyring_call("delete_password", material)
            return
        if not self._folder.is_dir():
            raise SealError(
                f"The folder {self._folder} of the key “{self._entry.name}” is not there (a medium that is not plugged in?), "
                "so its material is not destroyed. Bring it back and repeat."
            )
        try:
            overwrite_and_unlink(self._folder / material)
        except OSError as error:
            raise SealError(f"{self._folder / material} could not be destroyed: {error.strerror}. Repeat.") from None

    def destroy_leftovers(self, folder: Path) -> None:
        """Destroy material of this name in PrivLab's own ``folder`` that no entry lists, as a killed command can leave it."""
        digits = "[0-9a-f]" * 16
        for path in folder.glob(f"{self._entry.name}.{digits}.key"):
            overwrite_and_unlink(path)

    def _from_keyring(self, generation: Generation) -> Secret:
        kept = _keyring_call("get_password", generation.material)
        if kept is None:
            raise SealError(
                f"The OS keyring has no entry {_SERVICE} / {generation.material}, so what the key “{self._entry.name}” sealed "
                "cannot be opened."
            )
        if kept.size != KEY_SIZE:
            raise SealError(f"The OS keyring's entry {_SERVICE} / {generation.material} is not a key.")
        return kept

    def _needed(self) -> Passphrase:
        if self._passphrase is None:
            raise SealError(f"The key “{self._entry.name}” opens with a passphrase; give the passphrase.")
        return self._passphrase


def check_keyring() -> None:
    """Raises SealError where this system has no keyring that PrivLab can use."""
    _backend()


def _keyring_call(what: str, account: str, key: Secret | None = None) -> Secret | None:
    """Ask the keyring; what it gives out comes as a secret, empty where it is no hexadecimal number."""
    backend = _backend()
    try:
        given = getattr(backend, what)(_SERVICE, account, *([key.reveal().hex()] if key else []))
    except Exception as error:
        # Backends raise errors of their own; one of them might show what it was given.
        raise SealError(f"The OS keyring refused: {type(error).__name__}. Unlock it and try again.") from None
    if given is None:
        return None
    try:
        return Secret(bytes.fromhex(given))
    except ValueError:
        return Secret(b"")


def _backend() -> Any:
    # Optional: requirements-encryption.txt.
    try:
        import keyring
    except ImportError:
        raise SealError(
            "Keys in the OS keyring need the package keyring: pip install -r requirements-encryption.txt"
        ) from None
    backend = keyring.get_keyring()
    if backend.priority < _LEAST_PRIORITY:
        raise SealError(
            f"This system offers no safe keyring: the package keyring chose {backend.name} of priority {backend.priority}, and "
            f"at least {_LEAST_PRIORITY} is needed. Use a key file or a passphrase."
        )
    return backend
