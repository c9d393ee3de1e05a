"""Opening a store by the name of its mode."""

from __future__ import annotations

from privlab.encryption.modes import MODES
from privlab.encryption.store.contract import ParameterStore, StoreError
from privlab.encryption.store.plain import PlainStore

#: Owners that one store serves.
MOST_OWNERS = 10


def open_store(mode: str, dimension: int, *, owners: int = 1, address: str | None = None, tls=None) -> ParameterStore:
    """A store for ``dimension`` parameters and 1 to 10 ``owners``, empty until ``put``.

    Args:
        mode: "plain", or a key of :data:`~privlab.encryption.modes.MODES`; "none" and "sealed" have the plain store.
        address: "host:port" of a running server; None starts one as a child of this process, on this machine.
        tls: certificates for mutual authentication (:class:`~privlab.encryption.store.tls.Certificates`); needed with ``address``.

    Raises:
        StoreError: an unknown mode, a bad size, or a server that cannot be reached, named in plain words.
    """
    store = MODES[mode].store if mode in MODES else mode
    if not 1 <= owners <= MOST_OWNERS:
        raise StoreError(f"{owners} owners were asked for; a store has 1 to {MOST_OWNERS}.")
    if dimension < 1:
        raise StoreError(f"A store for {dimension} parameters was asked for; it needs at least 1.")
    if store == "plain":
        return PlainStore(dimension, owners)
    raise StoreError(f"Mode “{mode}” has no parameter store.")
