"""A client of the admin port: metrics, state, readiness, and the new lines of the log.

Invariant: every request has a timeout and a limit on its response's size, and the token goes only
to the address that was given, because redirects are not followed. Whatever is wrong with an
instance raises `Unreachable`: the live view shows it and tries again. It blocks in a thread of its
own; four small responses a second need no HTTP client library.
"""

import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from paceline.commands.top.exposition import Samples, parse
from paceline.concurrency import run_in_daemon_thread
from paceline.errors import Code, Error, ValidationError

_MAX_BYTES: Final = 8 << 20
_TIMEOUT: Final = 2.0  # seconds for each response
_OK: Final = 200
_NOT_READY: Final = 503
_DENIED: Final = (401, 403)
_NOT_FOUND: Final = 404
_PEM_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_PEM_END: Final = "-----END CERTIFICATE-----"


class Unreachable(Error):
    """The instance gave no usable response; the message says why, for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(Code.UNAVAILABLE, reason)


class NoAdminPort(Unreachable):
    """Something answers, and it is not the admin port of an instance."""


class Worker(msgspec.Struct, frozen=True):
    """One of several processes behind one admin port."""

    worker: int
    pid: int = 0


class State(msgspec.Struct, frozen=True):
    """What the instance is. ``workers`` is empty for a single process, whose id is ``pid``."""

    service: str = "?"
    version: str = ""
    pid: int = 0
    uptime_seconds: float = 0.0
    workers: tuple[Worker, ...] = ()


class Dependency(msgspec.Struct, frozen=True):
    """One check of its readiness."""

    name: str
    ok: bool
    reason: str = ""


class Readiness(msgspec.Struct, frozen=True):
    """Whether it takes requests; ``workers``: the same of each of several, by its number."""

    status: str = "?"
    checks: tuple[Dependency, ...] = ()
    workers: dict[str, "Readiness"] = {}

    @property
    def failing(self) -> list[str]:
        """The checks that fail, as "name: reason"."""
        own = [f"{each.name}: {each.reason or 'failing'}" for each in self.checks if not each.ok]
        theirs = [(number, line) for number, each in self.workers.items() for line in each.failing]
        return own + [f"worker {number}, {line}" for number, line in theirs]


class _Lines(msgspec.Struct, frozen=True):
    next: int = 0
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An instance at one moment, ``at`` seconds of a monotonic clock; ``lines``: new in its log."""

    at: float
    samples: Samples
    state: State
    readiness: Readiness
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How an admin port that speaks TLS is known, and how it knows the client.

    ``ca``: certificates (PEM) to trust instead of the system's. ``pinned``: the port's own
    certificate, which must be the one that it shows, for whatever name it is. ``certificate`` and
    ``key``: the client's.
    """

    ca: Path | None = None
    pinned: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For a connection. Errors: OSError for files that cannot be used."""
        context = ssl.create_default_context(cafile=self.ca)
        # The file may hold the port's own certificate and not who signed it.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key, password=b"")
        if self.pinned is not None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # `_PinnedConnection` compares it
        return context


class _PinnedConnection(HTTPSConnection):
    """Refuses a server whose certificate is not the first one in a file."""

    def __init__(self, host: str, port: int | None, trust: Trust, pinned: Path) -> None:
        super().__init__(host, port, timeout=_TIMEOUT, context=trust.context())
        self._pinned = pinned

    def connect(self) -> None:
        """Connect, and compare. Errors: OSError; Unreachable for another certificate."""
        super().connect()
        try:
            text = self._pinned.read_text(encoding="ascii", errors="replace")
            first = text[text.index(_PEM_BEGIN) : text.index(_PEM_END) + len(_PEM_END)]
            expected = ssl.PEM_cert_to_DER_cert(first)
        except (OSError, ValueError) as exc:
            self.close()
            reason = exc.strerror if isinstance(exc, OSError) else "it has no certificate in PEM"
            raise Unreachable(f"{self._pinned}: {reason}") from exc
        shown = self.sock.getpeercert(binary_form=True)
        if shown != expected:
            self.close()
            raise Unreachable(f"its certificate is not that of {self._pinned}")


class AdminClient:
    """A client of the admin port at ``url``, with its token if it has one, and ``trust`` over TLS.

    Errors of the constructor: `ValidationError` for a URL or a token that cannot be one.
    """

    def __init__(self, url: str, *, token: str | None = None, trust: Trust | None = None) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError as exc:
            raise ValidationError("URL", "expected http://host:port") from exc
        if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable():
            raise ValidationError("URL", "expected http://host:port")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ValidationError("--token", "expected printable ASCII")
        self.url: str = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._tls = parts.scheme == "https"
        self._trust = trust or Trust()
        self._host, self._port = parts.hostname, port
        self._headers = {"Accept": "text/plain, application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._last_lines: dict[int, int] = {}
        """The number of the last line of each process, by its pid: each process counts from 0."""

    async def check(self) -> None:
        """Find out whether it is an admin port. Errors: `Unreachable`, `NoAdminPort` among it."""
        await run_in_daemon_thread(self._check, name="admin client")

    def probe(self, *, ready: bool) -> list[str]:
        """What fails, if it is to be ``ready``; otherwise whether it answers. It blocks.

        Errors: `Unreachable`.
        """
        connection = self._connect()
        try:
            path = "/ready" if ready else "/health"
            found = self._json(connection, path, Readiness)
        finally:
            connection.close()
        if found is None:
            raise NoAdminPort(f"there is no {path}, so it is not an admin port")
        well = found.status == ("ready" if ready else "ok")
        return [] if well else found.failing or [found.status]

    async def take_snapshot(self) -> Snapshot:
        """Fetch everything once; log lines are those since the last call. Errors: `Unreachable`."""
        return await run_in_daemon_thread(self._fetch_all, name="admin client")

    def _check(self) -> None:
        connection = self._connect()
        try:
            self._instance(connection)
        finally:
            connection.close()

    def _instance(self, connection: HTTPConnection) -> tuple[Samples, float, State]:
        """What it measures, when that was, and what it is: an instance has one of the two."""
        metrics = self._get(connection, "/metrics")
        at = monotonic()
        state = self._json(connection, "/debug/state", State)
        samples = parse((metrics or b"").decode(errors="replace"))
        if (state is None or state.service == State().service) and not [*samples]:
            raise NoAdminPort("something answers there, but it is not an admin port")
        return samples, at, state or State()

    def _fetch_all(self) -> Snapshot:
        connection = self._connect()
        try:
            samples, at, state = self._instance(connection)
            readiness = self._json(connection, "/ready", Readiness) or Readiness()
            lines = self._new_lines(connection, state)
        finally:
            connection.close()
        return Snapshot(at, samples, state, readiness, tuple(lines))

    def _new_lines(self, connection: HTTPConnection, state: State) -> list[str]:
        """The new lines of every process, one process after the other."""
        processes = {each.pid: f"worker={each.worker}&" for each in state.workers}
        lines: list[str] = []
        last: dict[int, int] = {}
        for pid, which in (processes or {state.pid: ""}).items():
            last[pid] = self._last_lines.get(pid, 0)
            path = f"/debug/logs?{which}after={last[pid]}"
            try:
                found = self._json(connection, path, _Lines) or _Lines()
            except Unreachable:
                if not processes:
                    raise
                continue  # a worker that has just ended; the others go on
            last[pid] = found.next
            lines += found.lines
        self._last_lines = last
        return lines

    def _connect(self) -> HTTPConnection:
        if self._tls:
            trust = self._trust
            try:
                if trust.pinned is not None:
                    return _PinnedConnection(self._host, self._port, trust, trust.pinned)
                context = trust.context()
            except OSError as exc:
                files = (trust.ca, trust.certificate, trust.key)
                names = ", ".join(str(each) for each in files if each is not None)
                raise Unreachable(f"{names}: {exc.strerror or exc}") from exc
            return HTTPSConnection(self._host, self._port, timeout=_TIMEOUT, context=context)
        return HTTPConnection(self._host, self._port, timeout=_TIMEOUT)

    def _json(self, connection: HTTPConnection, path: str, kind: type[Any]) -> Any:
        """A decode point: ``kind`` is the type. None when the instance has no such page."""
        body = self._get(connection, path)
        if body is None:
            return None
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            message = f"something answers there, but its {path} is not that of an admin port"
            raise NoAdminPort(message) from exc

    def _get(self, connection: HTTPConnection, path: str) -> bytes | None:
        try:
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            body = response.read(_MAX_BYTES)
        except OSError as exc:
            raise Unreachable(_reason(exc)) from exc
        except HTTPException as exc:
            message = "something answers there, but not in HTTP, so it is not an admin port"
            raise NoAdminPort(message) from exc
        if response.status in _DENIED:
            raise Unreachable("it needs a token, or another one: see --token")
        if response.status == _NOT_FOUND:
            return None
        wanted = (_OK, _NOT_READY) if path == "/ready" else (_OK,)
        if response.status not in wanted or response.length:
            raise Unreachable(f"{path.partition('?')[0]} answered with status {response.status}")
        return body


def _reason(exc: OSError) -> str:
    if isinstance(exc, TimeoutError):
        return f"no answer within {_TIMEOUT:g} s"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {exc.verify_message}: see --ca"
    if isinstance(exc, ssl.SSLError):
        return f"no TLS connection: {exc.reason or exc}"
    return (exc.strerror or "the connection was closed without an answer").lower()
