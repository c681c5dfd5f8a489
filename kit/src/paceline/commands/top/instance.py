"""Asking an instance's admin port: metrics, state, readiness, and what is new in its log.

Invariant: every question has a time and a size that it may take, and the token goes to the one
address that was named, for redirects are not followed. An instance that is away is `Away`,
whatever the reason: that is a thing to show, not a failure. It blocks, so it is called in a thread:
four small answers a second need no HTTP client library. Used by ``live`` and ``once``.
"""

import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from paceline.commands.top.exposition import Samples, parse
from paceline.concurrency import in_daemon_thread
from paceline.errors import Code, Error, ValidationError

_MOST: Final = 8 << 20
_TIMEOUT: Final = 2.0  # seconds for each answer
_OK: Final = 200
_NOT_READY: Final = 503
_REFUSED: Final = (401, 403)
_NOT_FOUND: Final = 404


class Away(Error):
    """The instance cannot be asked; the message says why, for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(Code.UNAVAILABLE, reason)


class Worker(msgspec.Struct, frozen=True):
    """One of several processes behind one admin port."""

    worker: int
    pid: int = 0


class State(msgspec.Struct, frozen=True):
    """Who the instance is. ``workers`` is empty for one process, which ``pid`` is then."""

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
    """Whether it takes requests; of several workers, what each says, by its number."""

    status: str = "?"
    checks: tuple[Dependency, ...] = ()
    workers: dict[str, "Readiness"] = {}

    @property
    def failing(self) -> list[str]:
        """What is not well, "name: reason"."""
        own = [f"{each.name}: {each.reason or 'failing'}" for each in self.checks if not each.ok]
        theirs = [(number, line) for number, each in self.workers.items() for line in each.failing]
        return own + [f"worker {number}, {line}" for number, line in theirs]


class _Lines(msgspec.Struct, frozen=True):
    next: int = 0
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """What an instance told at one moment (``at``: of a monotonic clock)."""

    at: float
    samples: Samples
    state: State
    readiness: Readiness
    lines: tuple[str, ...] = ()


class Instance:
    """One admin port.

    Errors of the constructor: `ValidationError` for a URL that is none.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
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
        self._host, self._port = parts.hostname, port
        self._headers = {"Accept": "text/plain, application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._seen: dict[int, int] = {}
        """The last line of each process, by its pid: another process begins to count anew."""

    async def look(self) -> Look:
        """Ask everything once; log lines are those since the last time. Errors: `Away`."""
        return await in_daemon_thread(self._look, name="look")

    def _look(self) -> Look:
        connection = self._connect()
        try:
            metrics = self._get(connection, "/metrics")
            at = monotonic()
            state = self._json(connection, "/debug/state", State) or State()
            readiness = self._json(connection, "/ready", Readiness) or Readiness()
            lines = self._news(connection, state)
        finally:
            connection.close()
        samples = parse((metrics or b"").decode(errors="replace"))
        return Look(at, samples, state, readiness, tuple(lines))

    def _news(self, connection: HTTPConnection, state: State) -> list[str]:
        """The new lines of every process, one process after the other."""
        processes = {each.pid: f"worker={each.worker}&" for each in state.workers}
        lines: list[str] = []
        seen: dict[int, int] = {}
        for pid, which in (processes or {state.pid: ""}).items():
            seen[pid] = self._seen.get(pid, 0)
            path = f"/debug/logs?{which}after={seen[pid]}"
            try:
                found = self._json(connection, path, _Lines) or _Lines()
            except Away:
                if not processes:
                    raise
                continue  # a worker that has just ended; the others are there
            seen[pid] = found.next
            lines += found.lines
        self._seen = seen
        return lines

    def _connect(self) -> HTTPConnection:
        if self._tls:
            context = ssl.create_default_context()
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
            raise Away(f"{path} is not as expected: is this an admin port?") from exc

    def _get(self, connection: HTTPConnection, path: str) -> bytes | None:
        try:
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            body = answer.read(_MOST)
        except (OSError, HTTPException) as exc:
            raise Away(_reason(exc)) from exc
        if answer.status in _REFUSED:
            raise Away("it wants a token, or another: --token, or APP_ADMIN_TOKEN")
        if answer.status == _NOT_FOUND:
            return None
        wanted = (_OK, _NOT_READY) if path == "/ready" else (_OK,)
        if answer.status not in wanted or answer.length:
            raise Away(f"{path.partition('?')[0]} answered with status {answer.status}")
        return body


def _reason(exc: Exception) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror.lower()
    return f"no HTTP answer ({type(exc).__name__})"
