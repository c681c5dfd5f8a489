"""The admin port of several workers: one address, with the responses of all of them.

``/`` has what is the same for all, and who they are; ``/metrics`` has every worker's samples,
labelled with its number; ``/ready`` is 200 when one worker is ready, because all accept from the
same queue; ``/debug/state`` has the state of each; a new log level goes to all. Everything else is
one worker's response, ``?worker=2``, unchanged: the paths are those of ``paceline.commands.admin``,
and so are the pages for browsers and the access check, here and not in the workers.
"""

import asyncio
import os
from collections.abc import Callable
from time import monotonic
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from paceline.commands.admin import POLLED_PATHS, add_assets, restrict_access, with_pages
from paceline.commands.prefork.admin_client import AdminResponse, fetch
from paceline.commands.prefork.spawn import WorkerProcess
from paceline.commands.prefork.workers import Workers
from paceline.errors import Code, Error
from paceline.http import App, Receive, Scope, Send, headers_of, read_body
from paceline.http.middleware import access_log, recover, request_id
from paceline.log import Logger
from paceline.metrics import merge_expositions

_FORWARDED: Final = ("/config", "/debug/tasks", "/debug/profile", "/debug/logs", "/log/level")
_FROM_ANY_WORKER: Final = ("/config", "/log/level")
"""The same for all of them, unless one was changed by itself."""
_PROBE_TIMEOUT: Final = 0.8  # probes have a second
_TIMEOUT: Final = 90.0  # a profile takes up to a minute
_JSON: Final = b"application/json"
_POLICY: Final = b"default-src 'none'"
_OK, _UNAVAILABLE = 200, 503


def supervisor_app(
    workers: Workers[WorkerProcess],
    log: Logger,
    *,
    service: str,
    version: str,
    token: str | None,
    draining: Callable[[], bool],
) -> App:
    """The application. ``token`` as for ``paceline.commands.admin.admin_app``."""
    app = App(request_id(), access_log(log, debug_paths=POLLED_PATHS), recover(log))
    handlers = _Handlers(workers, service, version, draining)
    restricted = with_pages(restrict_access(token, log))
    add_assets(app)
    add = app.router.add
    add("GET", "/", restricted(handlers.overview))
    add("GET", "/health", handlers.health)
    add("GET", "/ready", handlers.ready)
    add("GET", "/metrics", restricted(handlers.metrics))
    add("GET", "/debug/state", restricted(handlers.state))
    add("PUT", "/log/level", restricted(handlers.set_level))
    for path in _FORWARDED:
        add("GET", path, restricted(handlers.forward))
    return app


class _Handlers:
    """The responses."""

    def __init__(
        self,
        workers: Workers[WorkerProcess],
        service: str,
        version: str,
        draining: Callable[[], bool],
    ) -> None:
        self._workers = workers
        self._service = service
        self._version = version
        self._draining = draining
        self._began = monotonic()

    async def health(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """The supervisor is alive; the state of its workers is no reason to restart it."""
        await _send_json(send, _OK, {"status": "ok"})

    async def ready(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Whether any worker is ready, and the response of each."""
        responses = await self._fetch_all("/ready", timeout=_PROBE_TIMEOUT)
        is_ready = any(each.status == _OK for each in responses.values())
        states = {str(number): _json(each) for number, each in responses.items()}
        if self._draining():
            await _send_json(send, _UNAVAILABLE, {"status": "draining", "workers": states})
        elif is_ready:
            await _send_json(send, _OK, {"status": "ready", "workers": states})
        else:
            await _send_json(send, _UNAVAILABLE, {"status": "unavailable", "workers": states})

    async def overview(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """The process, its workers, and of one of them what is the same for all."""
        responses = await self._fetch_all("/")
        found = {n: _json(each) for n, each in responses.items() if each.status == _OK}
        workers = [
            {"worker": n, "pid": each["pid"], "uptime_seconds": each["uptime_seconds"]}
            for n, each in found.items()
        ]
        common = next(iter(found.values())) if found else {}
        await _send_json(send, _OK, {**common, **self._own(), "workers": workers})

    async def metrics(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Every worker's metrics as one exposition."""
        accept = headers_of(scope).get(b"accept", b"*/*").decode("latin-1")
        responses = await self._fetch_all("/metrics", accept=accept)
        parts = {str(n): a.body.decode() for n, a in responses.items() if a.status == _OK}
        if not parts:
            raise Error(Code.UNAVAILABLE, "no worker has metrics")
        kind = next(each.content_type for each in responses.values() if each.status == _OK)
        await _send(send, AdminResponse(_OK, kind, merge_expositions(parts).encode()))

    async def state(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The state of each worker, or of the one in the query."""
        if _worker_of(scope) is not None:
            await self.forward(scope, receive, send)
            return
        responses = await self._fetch_all("/debug/state")
        states = [{"worker": n, **_json(a)} for n, a in responses.items() if a.status == _OK]
        await _send_json(send, _OK, {**self._own(), "workers": states})

    async def set_level(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Change the log's level, of all or of the one in the query; the worst response counts."""
        if _worker_of(scope) is not None:
            await self.forward(scope, receive, send)
            return
        body = await read_body(scope, receive, 1024)
        responses = await self._fetch_all("/log/level", method="PUT", body=body)
        if not responses:
            raise Error(Code.UNAVAILABLE, "no worker is up")
        await _send(send, max(responses.values(), key=lambda each: each.status))

    async def forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One worker's response, whatever it is."""
        method, path = scope["method"], scope["path"]
        body = await read_body(scope, receive, 1024) if method == "PUT" else b""
        query = [pair for pair in _query(scope) if pair[0] != "worker"]
        target = f"{path}?{urlencode(query)}" if query else path
        worker = self._chosen(_worker_of(scope), any_worker=path in _FROM_ANY_WORKER)
        await _send(
            send, await fetch(worker.admin, target, method=method, body=body, timeout=_TIMEOUT)
        )

    def _own(self) -> dict[str, object]:
        return {
            "service": self._service,
            "version": self._version,
            "pid": os.getpid(),
            "uptime_seconds": round(monotonic() - self._began, 3),
        }

    def _chosen(self, number: str | None, *, any_worker: bool) -> WorkerProcess:
        slots = self._workers.slots
        up = {str(slot.number): slot.worker for slot in slots if slot.worker is not None}
        if number is None and any_worker and up:
            return next(iter(up.values()))
        if number is None or number not in {str(slot.number) for slot in slots}:
            message = f"say which of the workers: ?worker=N, N from 1 to {len(slots)}"
            raise Error(Code.INVALID_ARGUMENT, message)
        if number not in up:
            raise Error(Code.UNAVAILABLE, "this worker is not up")
        return up[number]

    async def _fetch_all(self, path: str, **more: Any) -> dict[int, AdminResponse]:
        """The response of each worker that gives one, by its number."""
        up = [(slot.number, slot.worker) for slot in self._workers.slots if slot.worker]
        requests = (fetch(worker.admin, path, **more) for _, worker in up)
        responses = await asyncio.gather(*requests, return_exceptions=True)
        return {
            number: response
            for (number, _), response in zip(up, responses, strict=True)
            if isinstance(response, AdminResponse)
        }


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _worker_of(scope: Scope) -> str | None:
    return dict(_query(scope)).get("worker")


def _json(response: AdminResponse) -> dict[str, object]:
    return msgspec.json.decode(response.body, type=dict[str, object])


async def _send_json(send: Send, status: int, content: object) -> None:
    await _send(send, AdminResponse(status, _JSON, msgspec.json.encode(content)))


async def _send(send: Send, response: AdminResponse) -> None:
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", b"%d" % len(response.body)),
        (b"content-security-policy", response.policy or _POLICY),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
