"""Certificates for tests of TLS, made in a moment and written to files.

Example::

    authority = CertificateAuthority(tmp_path)
    files = authority.issue("server")
    tls = TlsFiles(files.certificate, files.key)
    context = ssl.create_default_context(cafile=authority.file)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

_HOSTS: Final = ("localhost", "127.0.0.1")
_MARGIN: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate and its key, PEM."""

    certificate: Path
    key: Path


class CertificateAuthority:
    """Signs certificates, and writes them to ``folder``; its own is in ``file``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.file: Path = folder / f"{name}.pem"
        self._key = generate_private_key(SECP256R1())
        self._name = _name_of(name)
        now = datetime.now(UTC)
        own = _builder(self._name, self._name, self._key, now - _MARGIN, now + timedelta(days=365))
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.file.write_bytes(own.sign(self._key, SHA256()).public_bytes(Encoding.PEM))

    def issue(
        self,
        name: str,
        *,
        hosts: Sequence[str] = _HOSTS,
        days: float = 90.0,
        starts: float = 0.0,
        issuer_url: str = "",
        passphrase: str = "",
    ) -> CertificateFiles:
        """A certificate for ``hosts``, in ``NAME.crt`` and ``NAME.key``; the same name replaces it.

        It is valid from in ``starts`` days until in ``days``. ``issuer_url``: where its issuer's
        certificate would be. ``passphrase``: of the key.
        """
        key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
        begin, end = now + timedelta(days=starts) - _MARGIN, now + timedelta(days=days)
        builder = _builder(_name_of(name), self._name, key, min(begin, end - _MARGIN), end)
        if hosts:
            names = x509.SubjectAlternativeName([*map(_general_name, hosts)])
            builder = builder.add_extension(names, critical=False)
        if issuer_url:
            url = x509.UniformResourceIdentifier(issuer_url)
            access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, url)
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), False)
        encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
        files = CertificateFiles(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        signed = builder.sign(self._key, SHA256())
        _replace(files.certificate, signed.public_bytes(Encoding.PEM))
        _replace(files.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        return files


def _replace(file: Path, content: bytes) -> None:
    """As a careful program does it: never half written."""
    aside = file.with_name(f"{file.name}.new")
    aside.write_bytes(content)
    aside.replace(file)


def _name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    if "://" in host:
        return x509.UniformResourceIdentifier(host)
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePrivateKey,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
