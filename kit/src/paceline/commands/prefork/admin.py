"""The admin port of several workers: one address, the answers of all of them.

``/metrics`` is every worker's, each sample with its worker's number; ``/ready`` says yes when one
of them does, for the others' requests wait in the same queue; ``/debug/state`` is the state of
each; a new log level goes to all. The rest is one worker's answer, ``?worker=2``, as it is: the
paths are ``paceline.commands.admin``'s, and so is the guard, here and not in the workers. Built by
``__main__``; ``asking`` fetches.
"""

import asyncio
import os
from collections.abc import Callable
from time import monotonic
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from paceline.commands.admin import QUIET, guard
from paceline.commands.prefork.client import Answer, ask
from paceline.commands.prefork.spawn import WorkerProcess
from paceline.commands.prefork.workers import Workers
from paceline.errors import Code, Error
from paceline.http import App, Receive, Scope, Send, headers_of, read_body
from paceline.http.middleware import access_log, recover, request_id
from paceline.log import Logger
from paceline.metrics import merge

_PASSED_ON: Final = ("/config", "/debug/tasks", "/debug/profile", "/debug/logs", "/log/level")
_OF_ANY: Final = ("/config", "/log/level")
"""The same for all of them, unless somebody changed one."""
_PATIENCE: Final = 90.0  # a profile takes up to a minute
_JSON: Final = b"application/json"
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
    app = App(request_id(), access_log(log, debug_paths=QUIET), recover(log))
    asked = _Asked(workers, service, version, draining)
    guarded = guard(token)
    add = app.router.add
    add("GET", "/health", asked.health)
    add("GET", "/ready", asked.ready)
    add("GET", "/metrics", guarded(asked.metrics))
    add("GET", "/debug/state", guarded(asked.state))
    add("PUT", "/log/level", guarded(asked.set_level))
    for path in _PASSED_ON:
        add("GET", path, guarded(asked.pass_on))
    return app


class _Asked:
    """The answers."""

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
        """The supervisor is alive; what its workers are is no reason to restart it."""
        await _send_json(send, _OK, {"status": "ok"})

    async def ready(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Whether any worker is ready, and what each says."""
        answers = await self._ask_all("/ready")
        is_ready = any(answer.status == _OK for answer in answers.values())
        said = {str(number): _json(answer) for number, answer in answers.items()}
        if self._draining():
            await _send_json(send, _UNAVAILABLE, {"status": "draining", "workers": said})
        elif is_ready:
            await _send_json(send, _OK, {"status": "ready", "workers": said})
        else:
            await _send_json(send, _UNAVAILABLE, {"status": "unavailable", "workers": said})

    async def metrics(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Every worker's metrics as one exposition."""
        accept = headers_of(scope).get(b"accept", b"*/*").decode("latin-1")
        answers = await self._ask_all("/metrics", accept=accept)
        parts = {str(n): a.body.decode() for n, a in answers.items() if a.status == _OK}
        if not parts:
            raise Error(Code.UNAVAILABLE, "no worker gives metrics")
        kind = next(answer.content_type for answer in answers.values() if answer.status == _OK)
        await _send(send, Answer(_OK, kind, merge(parts).encode()))

    async def state(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The state of each worker, or of the one that is asked for."""
        if _worker_of(scope) is not None:
            await self.pass_on(scope, receive, send)
            return
        answers = await self._ask_all("/debug/state")
        states = [{"worker": n, **_json(a)} for n, a in answers.items() if a.status == _OK]
        own = {
            "service": self._service,
            "version": self._version,
            "pid": os.getpid(),
            "uptime_seconds": round(monotonic() - self._began, 3),
        }
        await _send_json(send, _OK, {**own, "workers": states})

    async def set_level(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The log's level, of all or of the one that is asked for. One that refuses speaks."""
        if _worker_of(scope) is not None:
            await self.pass_on(scope, receive, send)
            return
        body = await read_body(scope, receive, 1024)
        answers = await self._ask_all("/log/level", method="PUT", body=body)
        if not answers:
            raise Error(Code.UNAVAILABLE, "no worker is up")
        await _send(send, max(answers.values(), key=lambda answer: answer.status))

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One worker's answer, whatever it is."""
        method, path = scope["method"], scope["path"]
        body = await read_body(scope, receive, 1024) if method == "PUT" else b""
        query = [pair for pair in _query(scope) if pair[0] != "worker"]
        target = f"{path}?{urlencode(query)}" if query else path
        worker = self._chosen(_worker_of(scope), any_will_do=path in _OF_ANY)
        await _send(
            send, await ask(worker.admin, target, method=method, body=body, timeout=_PATIENCE)
        )

    def _chosen(self, number: str | None, *, any_will_do: bool) -> WorkerProcess:
        slots = self._workers.slots
        up = {str(slot.number): slot.worker for slot in slots if slot.worker is not None}
        if number is None and any_will_do and up:
            return next(iter(up.values()))
        if number is None or number not in {str(slot.number) for slot in slots}:
            message = f"say which of the workers: ?worker=N, N from 1 to {len(slots)}"
            raise Error(Code.INVALID_ARGUMENT, message)
        if number not in up:
            raise Error(Code.UNAVAILABLE, "this worker is not up")
        return up[number]

    async def _ask_all(self, path: str, **more: Any) -> dict[int, Answer]:
        """What each worker that answers says, by its number."""
        up = [(slot.number, slot.worker) for slot in self._workers.slots if slot.worker]
        asked = (ask(worker.admin, path, **more) for _, worker in up)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return {
            number: answer
            for (number, _), answer in zip(up, answers, strict=True)
            if isinstance(answer, Answer)
        }


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _worker_of(scope: Scope) -> str | None:
    return dict(_query(scope)).get("worker")


def _json(answer: Answer) -> dict[str, object]:
    return msgspec.json.decode(answer.body, type=dict[str, object])


async def _send_json(send: Send, status: int, content: object) -> None:
    await _send(send, Answer(status, _JSON, msgspec.json.encode(content)))


async def _send(send: Send, answer: Answer) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
