"""Certificates for a store server on another host: both sides show one, both signed by a key that is thrown away.

``python -m privlab.encryption.store.tls FOLDER --host NAME_OR_ADDRESS`` makes them. ``server.*`` and ``ca.pem`` go to the server's host,
``client.*`` and ``ca.pem`` to the owners'. The signing key is never written, so nobody can issue a further certificate; a host more means a new set.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from privlab.encryption.store.contract import StoreError

#: How long a set of certificates is good for.
VALID_DAYS = 397


@dataclass(frozen=True)
class Certificates:
    """One side's files: who signs (``authority``), its own certificate, and the private key to it."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def server(cls, folder: Path) -> Certificates:
        return cls(folder / "ca.pem", folder / "server.pem", folder / "server.key")

    @classmethod
    def client(cls, folder: Path) -> Certificates:
        return cls(folder / "ca.pem", folder / "client.pem", folder / "client.key")

    def server_context(self) -> ssl.SSLContext:
        """TLS 1.3, taking only clients whose certificate the authority signed. Raises StoreError for unusable files."""
        return self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def client_context(self) -> ssl.SSLContext:
        """TLS 1.3, trusting only a server whose certificate names its host and was signed by the authority."""
        return self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.authority)
        except (OSError, ssl.SSLError) as error:
            missing = [path for path in (self.authority, self.certificate, self.key) if not path.exists()]
            what = f"{missing[0]} is missing" if missing else f"{error}"
            raise StoreError(f"The TLS certificates cannot be used: {what}.") from None
        return context


def make_certificates(folder: Path, hosts: list[str], days: float = VALID_DAYS) -> None:
    """Write ca.pem, server.pem, server.key, client.pem and client.key to ``folder``, keys readable by their owner only.

    Args:
        hosts: names and addresses under which clients will reach the server.
        days: how long they are valid, from now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    signer = ec.generate_private_key(ec.SECP256R1())
    name = _name("PrivLab store")
    authority = (
        _builder(name, name, signer.public_key(), end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(signer, hashes.SHA256())
    )
    _write(folder / "ca.pem", authority.public_bytes(serialization.Encoding.PEM), 0o644)
    for side, purpose in (("server", ExtendedKeyUsageOID.SERVER_AUTH), ("client", ExtendedKeyUsageOID.CLIENT_AUTH)):
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(f"PrivLab store {side}"), name, key.public_key(), end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if side == "server":
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        certificate = builder.sign(signer, hashes.SHA256())
        _write(folder / f"{side}.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(folder / f"{side}.key", private, 0o600)


def _builder(subject: x509.Name, issuer: x509.Name, public, end: datetime.datetime) -> x509.CertificateBuilder:
    # A day of slack backwards, for hosts whose clocks differ.
    start = min(datetime.datetime.now(datetime.UTC), end) - datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, data: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m privlab.encryption.store.tls", description="Certificates for a store server."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--host", action="append", required=True, help="name or address of the server; may be given again"
    )
    given = parser.parse_args(arguments)
    make_certificates(given.folder, given.host)
    print(f"{given.folder}: ca.pem and server.* belong on the server's host, ca.pem and client.* on the owners'.")


if __name__ == "__main__":
    main()
