"""The server on another host: mutual authentication over TLS, and two network namespaces where the machine permits them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from privlab.encryption.store import StoreError, open_store
from privlab.encryption.store.tls import Certificates, make_certificates

ROOT = Path(__file__).resolve().parents[2]
SERVER = [sys.executable, "-m", "privlab.encryption.store.server"]


@contextmanager
def listening(certificates: Path, host: str = "127.0.0.1", prefix: tuple[str, ...] = ()) -> Iterator[str]:
    """A server process; its address."""
    command = [*prefix, *SERVER, "--listen", f"{host}:0", "--certificates", str(certificates)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        assert line.startswith("listening on "), line + server.stderr.read()
        yield line.split()[-1]
    finally:
        server.terminate()
        server.communicate()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder, ["127.0.0.1", "localhost"])
    return folder


@pytest.fixture(scope="module")
def address(certificates: Path) -> Iterator[str]:
    with listening(certificates) as address:
        yield address


@pytest.mark.parametrize("mode", ["pad", "bfv", "ckks"])
def test_a_store_over_tls_does_what_one_at_home_does(mode: str, address: str, certificates: Path) -> None:
    store = open_store(mode, 100, owners=2, address=address, tls=Certificates.client(certificates))
    assert store.server_pid is None
    start, updates = np.full(100, 0.25), (np.full(100, 0.5), np.full(100, -0.125))
    store.put(start, 0)
    for owner, update in enumerate(updates):
        store.contribute(owner, update, 1)
    store.commit(1)
    assert np.abs(store.open() - (start + sum(updates))).max() < (1e-7 if mode == "ckks" else 1e-300)
    store.close()


def test_two_runs_at_one_server_do_not_meet(address: str, certificates: Path) -> None:
    one, other = (open_store("pad", 10, address=address, tls=Certificates.client(certificates)) for _ in range(2))
    one.put(np.ones(10), 0)
    other.put(np.zeros(10), 3)
    one.contribute(0, np.ones(10), 1)
    one.commit(1)
    assert one.open().tolist() == [2.0] * 10
    assert other.open().tolist() == [0.0] * 10
    one.close()
    assert other.open().tolist() == [0.0] * 10
    other.close()


def test_strangers_are_turned_away_and_the_server_goes_on(address: str, certificates: Path, tmp_path: Path) -> None:
    make_certificates(tmp_path, ["127.0.0.1"])
    strange = Certificates.client(tmp_path)
    # A client that trusts the server but is not known to it.
    known_server = Certificates(certificates / "ca.pem", strange.certificate, strange.key)
    with pytest.raises(StoreError, match=r"did not take this client|not trusted|cannot be reached"):
        open_store("pad", 10, address=address, tls=known_server)
    # A client that does not know the server.
    with pytest.raises(StoreError, match="is not trusted"):
        open_store("pad", 10, address=address, tls=strange)
    # The server's own certificate does not make a client.
    with pytest.raises(StoreError, match=r"did not take this client|not trusted|cannot be reached"):
        open_store("pad", 10, address=address, tls=Certificates.server(certificates))
    # No certificate, and no TLS at all.
    host, port = address.rsplit(":", 1)
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(certificates / "ca.pem")
    with (
        socket.create_connection((host, int(port)), 10) as plain,
        bare.wrap_socket(plain, server_hostname=host) as secure,
        pytest.raises(OSError, match=r"(?i)certificate required|EOF occurred|reset"),
    ):
        secure.sendall(bytes(32))
        secure.recv(1)
    with socket.create_connection((host, int(port)), 10) as plain, contextlib.suppress(ConnectionResetError):
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        # What comes is at most a TLS alert, never an answer.
        assert len(plain.recv(100)) < 10

    store = open_store("pad", 10, address=address, tls=Certificates.client(certificates))
    store.put(np.ones(10), 0)
    assert store.open().tolist() == [1.0] * 10
    store.close()


def test_a_certificate_of_another_host_is_not_trusted(tmp_path: Path) -> None:
    make_certificates(tmp_path, ["store.example"])
    with listening(tmp_path) as address, pytest.raises(StoreError, match=r"is not trusted"):
        open_store("pad", 10, address=address, tls=Certificates.client(tmp_path))


def test_an_expired_certificate_is_not_trusted(tmp_path: Path) -> None:
    make_certificates(tmp_path, ["127.0.0.1"], days=-1)
    with listening(tmp_path) as address, pytest.raises(StoreError, match=r"is not trusted"):
        open_store("pad", 10, address=address, tls=Certificates.client(tmp_path))


def test_addresses_and_files_that_cannot_be_used_are_named(certificates: Path, tmp_path: Path) -> None:
    tls = Certificates.client(certificates)
    for address in ("nowhere", "host:", ":1", "host:99999", "host:x"):
        with pytest.raises(StoreError, match=r"is not of the form host:port"):
            open_store("pad", 10, address=address, tls=tls)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(
        StoreError, match=rf"The store server at {re.escape(address)} cannot be reached: Connection refused"
    ):
        open_store("pad", 10, address=address, tls=tls)
    with socket.create_server(("127.0.0.1", 0)) as free, pytest.raises(StoreError, match=r"ca\.pem is missing"):
        open_store("pad", 10, address=f"127.0.0.1:{free.getsockname()[1]}", tls=Certificates.client(tmp_path))


def test_private_keys_are_for_their_owner_only(certificates: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in certificates.iterdir()}
    assert modes == {
        "ca.pem": 0o644,
        "server.pem": 0o644,
        "client.pem": 0o644,
        "server.key": 0o600,
        "client.key": 0o600,
    }


def test_the_server_does_not_listen_without_certificates() -> None:
    done = subprocess.run([*SERVER, "--listen", "127.0.0.1:0"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "without them anybody could connect" in done.stderr


#: What the owners' host runs: 20 steps of two owners on a least-squares problem, through the store and beside it.
_OWNERS = """
import json, sys
import numpy as np
from pathlib import Path
from privlab.encryption.fixedpoint import BFV_MODULUS, FixedPointTwin
from privlab.encryption.store import open_store
from privlab.encryption.store.tls import Certificates
mode, address, folder = sys.argv[1:]
random = np.random.default_rng(1)
parts = [(random.normal(size=(200, 30)), random.normal(size=200)) for _ in range(2)]
store = open_store(mode, 30, owners=2, address=address, tls=Certificates.client(Path(folder)))
twin = FixedPointTwin(BFV_MODULUS)
store.put(np.zeros(30), 0)
twin.put(np.zeros(30))
for step in range(1, 21):
    parameters = store.open()
    for owner, (x, y) in enumerate(parts):
        update = -0.3 / 400 * x.T @ (x @ parameters - y) + 0.001 * random.normal(size=30)
        store.contribute(owner, update, step)
        twin.add(update)
    store.commit(step)
print(json.dumps({"stored": store.open().tolist(), "twin": twin.open().tolist(), "sent": store.traffic.sent}))
"""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def two_hosts() -> Iterator[tuple[str, str, str]]:
    """Two network namespaces joined by a virtual cable and nothing else: their names, and the first one's address."""
    if shutil.which("ip") is None:
        pytest.skip("no “ip” command here, so no network namespaces; TLS over loopback is tested above")
    tail = f"{os.getpid() % 100_000}"
    server, owners = f"store{tail}", f"owner{tail}"
    try:
        try:
            _ip("netns", "add", server)
            _ip("netns", "add", owners)
            _ip(
                "link",
                "add",
                f"vs{tail}",
                "netns",
                server,
                "type",
                "veth",
                "peer",
                "name",
                f"vo{tail}",
                "netns",
                owners,
            )
            for space, device, address in (
                (server, f"vs{tail}", "10.77.0.1/30"),
                (owners, f"vo{tail}", "10.77.0.2/30"),
            ):
                _ip("-n", space, "addr", "add", address, "dev", device)
                _ip("-n", space, "link", "set", device, "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(
                f"network namespaces are not permitted here ({error.stderr.strip()}); TLS over loopback is tested above"
            )
        yield server, owners, "10.77.0.1"
    finally:
        for space in (server, owners):
            subprocess.run(["ip", "netns", "del", space], capture_output=True)


@pytest.mark.parametrize("mode", ["pad", "bfv"])
def test_server_and_owners_in_two_network_namespaces(
    mode: str, two_hosts: tuple[str, str, str], tmp_path: Path
) -> None:
    server, owners, host = two_hosts
    make_certificates(tmp_path / "all", [host])
    # Each host gets its own files and no more.
    for side, names in (
        ("server", ("ca.pem", "server.pem", "server.key")),
        ("owners", ("ca.pem", "client.pem", "client.key")),
    ):
        (tmp_path / side).mkdir()
        for name in names:
            shutil.copy(tmp_path / "all" / name, tmp_path / side / name)
    with listening(tmp_path / "server", host, ("ip", "netns", "exec", server)) as address:
        # From outside the two namespaces the server is not even there.
        with pytest.raises(OSError), socket.create_connection((host, int(address.split(":")[1])), 1):
            pass
        done = subprocess.run(
            ["ip", "netns", "exec", owners, sys.executable, "-c", _OWNERS, mode, address, str(tmp_path / "owners")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
    assert result["stored"] == result["twin"]
    assert np.ptp(result["stored"]) > 0.01
    assert result["sent"] > 20 * 2 * 30 * 4
