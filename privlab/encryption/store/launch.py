"""Opening a store by the name of its mode: with a server of its own on this machine, or with one that runs elsewhere."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys

from privlab import paths
from privlab.encryption.modes import MODES, predict
from privlab.encryption.store.client import EncryptedStore
from privlab.encryption.store.contract import ParameterStore, StoreError
from privlab.encryption.store.frames import KEY_SIZE, Link
from privlab.encryption.store.plain import PlainStore
from privlab.encryption.store.scheme import Scheme
from privlab.encryption.store.tls import Certificates

#: Owners that one store serves.
MOST_OWNERS = 10
#: Longest wait for the server: this, and ten times what a step is predicted to take.
_PATIENCE_SECONDS = 60.0
_BUFFER = 1 << 20


def open_store(
    mode: str, dimension: int, *, owners: int = 1, address: str | None = None, tls: Certificates | None = None
) -> ParameterStore:
    """A store for ``dimension`` parameters and 1 to 10 ``owners``, empty until ``put``. Its keys are made here and stay in this process.

    Args:
        mode: "plain", or a key of :data:`~privlab.encryption.modes.MODES`; "none" and "sealed" have the plain store.
        address: "host:port" of a running server; None starts one as a child of this process, on this machine.
        tls: certificates for mutual authentication; needed with ``address``.

    Raises:
        StoreError: an unknown mode, a bad size, or a server that cannot be reached or trusted, in plain words.
    """
    store = MODES[mode].store if mode in MODES else mode
    if not 1 <= owners <= MOST_OWNERS:
        raise StoreError(f"{owners} owners were asked for; a store has 1 to {MOST_OWNERS}.")
    if dimension < 1:
        raise StoreError(f"A store for {dimension} parameters was asked for; it needs at least 1.")
    if store == "plain":
        return PlainStore(dimension, owners)
    scheme = scheme_for(store, dimension)
    patience = _PATIENCE_SECONDS + 10 * predict(store, dimension, owners).seconds
    if address is None:
        link, child = _start_child(patience)
        return EncryptedStore(scheme, owners, link, child)
    if tls is None:
        raise StoreError(f"The store server at {address} is reached over TLS only; give the certificates.")
    return EncryptedStore(scheme, owners, _connect(address, tls, patience))


def scheme_for(store: str, dimension: int) -> Scheme:
    """The owners' side of a store, with fresh keys."""
    if store == "pad":
        from privlab.encryption.store.pad import PadScheme

        return PadScheme(dimension)
    if store == "bfv":
        from privlab.encryption.store.bfv import BfvScheme

        return BfvScheme(dimension)
    if store == "ckks":
        from privlab.encryption.store.ckks import CkksScheme

        return CkksScheme(dimension)
    raise StoreError(f"There is no parameter store “{store}”; there are {', '.join(['plain', *_stores()])}.")


def _stores() -> list[str]:
    return [key for key, facts in MODES.items() if facts.is_store]


def _start_child(patience: float) -> tuple[Link, subprocess.Popen]:
    """A server on this machine, in a fresh process image that inherits one end of a socket pair and nothing else of ours."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    ours.settimeout(patience)
    key = os.urandom(KEY_SIZE)
    try:
        with theirs:
            child = subprocess.Popen(
                [sys.executable, "-m", "privlab.encryption.store.server", "--descriptor", str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(),
            )
    except OSError as error:  # no memory or no process left
        ours.close()
        raise StoreError(f"The store server cannot be started: {error.strerror or error}.") from None
    # A child that has ended already is noticed, and named, at the greeting.
    with contextlib.suppress(BrokenPipeError), child.stdin:
        child.stdin.write(key)
    return Link(ours, key), child


def _environment() -> dict[str, str]:
    """What the server needs to start, without whatever else our own environment holds."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    path = paths.python_path()
    return kept | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _connect(address: str, tls: Certificates, patience: float) -> Link:
    """A connection to a server that shows a certificate of ours for its host, and that knows ours."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise StoreError(f"The address {address!r} is not of the form host:port.")
    key = os.urandom(KEY_SIZE)
    connection: socket.socket | None = None
    try:
        connection = socket.create_connection((host, int(port)), timeout=_PATIENCE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = tls.client_context().wrap_socket(connection, server_hostname=host)
        connection.settimeout(patience)
        connection.sendall(key)
        return Link(connection, key)
    except StoreError:
        connection.close()
        raise
    except ssl.SSLError as error:
        connection.close()
        raise StoreError(
            f"The store server at {address} is not trusted, or does not trust this client: {error.reason or error}."
        ) from None
    except OSError as error:
        if connection is not None:
            connection.close()
        raise StoreError(f"The store server at {address} cannot be reached: {error.strerror or error}.") from None
