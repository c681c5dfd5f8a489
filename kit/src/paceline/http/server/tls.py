"""The files of TLS: a certificate and its key, read again when they change.

Invariants: handshakes use one whole pair at any time: files that do not go together, or are half
written, change nothing; connections that are open keep the pair that they began with. A change is
found by looking at the files (device, inode, size, times) through symbolic links, because whoever
renews a certificate replaces files, or, for a secret of Kubernetes, the link to their folder.
Rejected: a watch on the folders (inotify), which network file systems and swapped links evade.
"""

import os
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import ClassVar, Final, Literal, TypeAlias

from paceline.errors import Code, Error
from paceline.http.server.certificate import Certificate, read_certificate
from paceline.log import Logger

TlsFile: TypeAlias = Literal["certificate", "key", "client_ca"]
"""One of the files."""

_PROTOCOLS: Final = ["h2", "http/1.1"]
_CHECK_INTERVAL: Final = 2.0
_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)
_KEY: Final = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
_ENCRYPTED: Final = re.compile(rb"BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED")
# OpenSSL keeps a certificate and a key for each kind of key, so one of another kind has none.
_MISMATCHES: Final = frozenset(
    {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}
)
_Stamp: TypeAlias = tuple[object, ...]


class TlsFilesError(Error):
    """Files that cannot be used. ``problems``: what is wrong and what to do, by file."""

    kind: ClassVar[str] = "tls-files"

    def __init__(self, problems: Mapping[TlsFile, str]) -> None:
        super().__init__(Code.FAILED_PRECONDITION, "; ".join(problems.values()))
        self.problems: Mapping[TlsFile, str] = problems


class TlsFiles:
    """A server's certificate (PEM, with the intermediates below it) and its key (PEM).

    ``client_ca``: certificates (PEM) of those who sign clients' certificates; clients without one
    are refused then. TLS 1.2 and up, ciphers as OpenSSL has them, HTTP/2 and HTTP/1.1 by ALPN.
    ``check_interval``: seconds between two looks of `refresh`.

    Errors: `TlsFilesError` (FAILED_PRECONDITION), with everything that is wrong.

    Example::

        tls = TlsFiles(Path("tls.crt"), Path("tls.key"))
        server = HttpServer(app, log, host="0.0.0.0", port=443, tls=tls)
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        *,
        client_ca: Path | None = None,
        check_interval: float = _CHECK_INTERVAL,
    ) -> None:
        self._certificate_file = certificate
        self._key_file = key
        self._client_ca_file = client_ca
        self._stamp: _Stamp = self._look()
        self._failed: _Stamp | None = None
        self._check_interval = check_interval
        self._next_check = monotonic() + check_interval
        self._reported = False
        self._context, self._chain = self._read()

    @property
    def context(self) -> ssl.SSLContext:
        """For the next handshake; another one after the files were read again."""
        return self._context

    @property
    def certificate(self) -> Certificate:
        """The one in use."""
        return self._chain[0]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What clients will object to: an end that has passed, a chain that is not whole."""
        return tuple(_objections(self._chain, datetime.now(UTC)))

    def reload(self) -> None:
        """Read the files again. Errors: `TlsFilesError`; what was in use stays so."""
        stamp = self._look()
        self._context, self._chain = self._read()
        self._stamp, self._failed = stamp, None

    def renew(self, log: Logger) -> bool:
        """As `reload`, telling the log how it went; False when the old files stay in use."""
        try:
            self.reload()
        except TlsFilesError as exc:
            self._log_failure(log, exc)
            return False
        self._log_change(log)
        return True

    def refresh(self, log: Logger) -> None:
        """Read the files again if they have changed; to be called often, looks rarely.

        Files that cannot be used are given time until the next look: they may be half written.
        """
        now = monotonic()
        if now < self._next_check:
            return
        self._next_check = now + self._check_interval
        stamp = self._look()
        if stamp == self._stamp:
            return
        try:
            context, chain = self._read()
        except TlsFilesError as exc:
            if stamp == self._failed:
                self._stamp = stamp
                self._log_failure(log, exc)
            self._failed = stamp
            return
        if self._look() == stamp:
            self._context, self._chain, self._stamp, self._failed = context, chain, stamp, None
            self._log_change(log)

    def report(self, log: Logger) -> None:
        """Tell the log what clients will object to, once for each certificate."""
        if self._reported:
            return
        self._reported = True
        for warning in self.warnings:
            log.warning("TLS certificate", file=str(self._certificate_file), problem=warning)

    def _log_change(self, log: Logger) -> None:
        found = self.certificate
        file, until = str(self._certificate_file), found.not_after.isoformat()
        log.info("TLS certificate read again", file=file, until=until, names=[*found.names])
        self._reported = False
        self.report(log)

    def _log_failure(self, log: Logger, exc: TlsFilesError) -> None:
        until = self.certificate.not_after.isoformat()
        log.error(
            "TLS files cannot be used: the old ones stay in use",
            problem=exc.message,
            old_until=until,
        )

    def _look(self) -> _Stamp:
        files = (self._certificate_file, self._key_file, self._client_ca_file)
        return tuple(None if file is None else _stamp_of(file) for file in files)

    def _read(self) -> tuple[ssl.SSLContext, tuple[Certificate, ...]]:
        problems: dict[TlsFile, str] = {}
        chain = _certificates(self._certificate_file, "certificate", problems)
        if not chain and "certificate" not in problems:
            problems["certificate"] = f"{self._certificate_file}: it has no certificate in PEM"
        _check_key(self._key_file, problems)
        if self._client_ca_file is not None:
            found = _certificates(self._client_ca_file, "client_ca", problems)
            if not found and "client_ca" not in problems:
                problems["client_ca"] = f"{self._client_ca_file}: it has no certificate in PEM"
        context = _new_context()
        if not problems.keys() & {"certificate", "key"}:
            self._load_pair(context, problems)
        if self._client_ca_file is not None and "client_ca" not in problems:
            self._load_client_ca(context, self._client_ca_file, problems)
        if problems:
            raise TlsFilesError(problems)
        return context, chain

    def _load_pair(self, context: ssl.SSLContext, problems: dict[TlsFile, str]) -> None:
        certificate, key = self._certificate_file, self._key_file
        try:
            context.load_cert_chain(certificate, key, password=b"")
        except ssl.SSLError as exc:
            if exc.reason in _MISMATCHES:
                problems["key"] = (
                    f"{key}: it is not the key of the certificate in {certificate};"
                    " give the two that were made together"
                )
            elif exc.reason in {None, "PEM_LIB"}:
                problems["key"] = f"{key}: the private key in it cannot be read"
            else:
                problems["certificate"] = f"{certificate}: OpenSSL refuses it ({exc.reason})"
        except OSError as exc:
            problems["certificate"] = f"{certificate}: it cannot be read: {exc.strerror}"

    @staticmethod
    def _load_client_ca(context: ssl.SSLContext, file: Path, problems: dict[TlsFile, str]) -> None:
        try:
            context.load_verify_locations(cafile=file)
        except OSError as exc:
            reason = exc.reason if isinstance(exc, ssl.SSLError) else exc.strerror
            problems["client_ca"] = f"{file}: OpenSSL refuses it ({reason})"
            return
        context.verify_mode = ssl.CERT_REQUIRED


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client that makes the server sign again and again over one connection.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(_PROTOCOLS)
    return context


def _content(file: Path, role: TlsFile, problems: dict[TlsFile, str]) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        problems[role] = f"{file}: there is no such file"
    except IsADirectoryError:
        problems[role] = f"{file}: it is a folder; give the file in it"
    except OSError as exc:
        problems[role] = f"{file}: it cannot be read: {exc.strerror}"
    return b""


def _certificates(
    file: Path, role: TlsFile, problems: dict[TlsFile, str]
) -> tuple[Certificate, ...]:
    found: list[Certificate] = []
    for block in _CERTIFICATE.findall(_content(file, role, problems)):
        try:
            found.append(read_certificate(ssl.PEM_cert_to_DER_cert(block.decode("ascii"))))
        except ValueError:
            number = len(found) + 1
            problems[role] = f"{file}: certificate {number} in it cannot be read"
            break
    return tuple(found)


def _check_key(file: Path, problems: dict[TlsFile, str]) -> None:
    content = _content(file, "key", problems)
    if "key" in problems:
        return
    if _ENCRYPTED.search(content):
        problems["key"] = (
            f"{file}: the key has a passphrase, which a server cannot ask for; give it without:"
            f" openssl pkey -in {file} -out NEW"
        )
    elif not _KEY.search(content):
        problems["key"] = f"{file}: it has no private key in PEM"


def _objections(chain: tuple[Certificate, ...], now: datetime) -> list[str]:
    found: list[str] = []
    leaf, last = chain[0], chain[-1]
    if now > leaf.not_after:
        found.append(f"it has expired on {leaf.not_after:%Y-%m-%d %H:%M} UTC: renew it")
    if now < leaf.not_before:
        found.append(f"it is not valid before {leaf.not_before:%Y-%m-%d %H:%M} UTC")
    if not leaf.names:
        found.append("it names no host (subjectAltName), so clients accept it for none")
    if any(one.issuer != other.subject for one, other in pairwise(chain)):
        found.append("its chain is mixed up: each certificate must be followed by its issuer's")
    elif last.names_issuer and last is leaf and leaf.issuer != leaf.subject:
        found.append("its chain is missing: append the certificate of its issuer (fullchain.pem)")
    return found


def _stamp_of(file: Path) -> object:
    try:
        found = os.stat(file)  # noqa: PTH116 - one system call, made often
    except OSError as exc:
        return exc.errno
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
