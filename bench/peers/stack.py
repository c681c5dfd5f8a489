"""What the Python peers share, so that they differ in the framework and the database layer only.

The stack of duties as such templates have it: PyJWT with a memory of verified tokens, a structlog
JSON line a request, a request id, uvicorn with several processes. No server of its own; imported by
the three beside it.
"""

import logging
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import jwt
import structlog
import uuid_utils.compat
import uvicorn
from token_memory import TokenMemory

DATABASE_URL = os.environ.get("DATABASE_URL", "")
POOL = max(1, 25 // int(os.environ.get("WORKERS", "1")))
TOKENS = TokenMemory(os.environ.get("JWT_SECRET", ""))


@dataclass
class Refused(Exception):
    """An answer that is not what was asked for."""

    status: int
    detail: str


@dataclass(frozen=True)
class Caller:
    """Whose token it is."""

    subject: str
    scopes: frozenset[str]


def authenticate(header: str, scope: str) -> Caller:
    """The caller of a request, who must have ``scope``."""
    kind, _, token = header.partition(" ")
    if kind.lower() != "bearer":
        raise Refused(401, "this needs a bearer token")
    try:
        claims = TOKENS.claims(token)
    except jwt.InvalidTokenError as exc:
        raise Refused(401, "the token is not valid") from exc
    caller = Caller(claims["sub"], frozenset(claims.get("scope", "").split()))
    if scope not in caller.scopes:
        raise Refused(403, f"this needs the scope {scope}")
    return caller


def new_log():
    """The JSON logger."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(),
    )
    return structlog.get_logger()


class RequestLog:
    """ASGI middleware: a request id and a line a request."""

    def __init__(self, app):
        self.app, self.log = app, new_log()

    async def __call__(self, scope, receive, send):
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, name, status = time.perf_counter(), uuid.uuid4().hex, 500
        structlog.contextvars.bind_contextvars(request_id=name)

        async def tagged(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode())]
            await send(message)

        try:
            await self.app(scope, receive, tagged)
        finally:
            self.log.info(
                "request completed",
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_ms=(time.perf_counter() - started) * 1000,
                client=scope["client"][0],
            )
            structlog.contextvars.clear_contextvars()


def uuid7() -> uuid.UUID:
    """A new id that sorts by time."""
    return uuid_utils.compat.uuid7()


def problem(status: int, detail: str) -> dict[str, object]:
    """The body of a problem."""
    return {"type": "about:blank", "title": "", "status": status, "detail": detail}


def serve(module: str) -> None:
    """Serve ``module:app`` with as many processes as asked for."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # for the workers
    uvicorn.run(
        f"{module}:app",
        host=os.environ["HOST"],
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        workers=int(os.environ["WORKERS"]),
        # Within it a worker must have imported everything; with the usual 5 s a busy machine kills
        # and starts it for ever.
        timeout_worker_healthcheck=60,
        access_log=False,
        log_level="warning",
    )
