"""The peer: FastAPI with the usual equivalents of our middleware stack, one process.

``bare``: a typed route. ``full``: request id, proxy headers, a structured log line a request,
exception handler, timeout, PyJWT bearer authentication with a memory of verified tokens, and a
rate limit: what a team would take, with the same duties as ours. Started by
``bench/http_layer.py``.
"""

import asyncio
import logging
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated

import jwt
import structlog
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from token_memory import TokenMemory

SECRET = "a-benchmark-secret-of-at-least-32-bytes"


class Greeting(BaseModel):
    """What the route answers."""

    id: int
    message: str


def bare() -> FastAPI:
    """A typed route and nothing else."""
    app = FastAPI()

    @app.get("/hello/{id}")
    async def hello(id: int) -> Greeting:
        return Greeting(id=id, message="hello, world")

    return app


def full() -> FastAPI:
    """The whole stack."""
    app = FastAPI()
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
    log = structlog.get_logger()
    bearer = HTTPBearer()
    tokens = TokenMemory(SECRET)
    buckets: dict[str, tuple[float, float]] = {}

    async def principal(
        credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)],
    ) -> dict[str, object]:
        try:
            return tokens.claims(credentials.credentials)
        except jwt.InvalidTokenError as exc:
            raise HTTPException(401, "invalid token") from exc

    @app.middleware("http")
    async def observe(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        started = time.perf_counter()
        request_id = request.headers.get("x-request-id") or str(uuid.uuid4())
        structlog.contextvars.bind_contextvars(request_id=request_id)
        async with asyncio.timeout(30):
            response = await call_next(request)
        response.headers["x-request-id"] = request_id
        log.info(
            "request completed",
            method=request.method,
            path=request.url.path,
            status=response.status_code,
            bytes=int(response.headers.get("content-length", 0)),
            duration_ms=round((time.perf_counter() - started) * 1000, 3),
        )
        return response

    @app.exception_handler(Exception)
    async def recover(_request: Request, exc: Exception) -> JSONResponse:
        log.error("request failed", error=str(exc))
        return JSONResponse({"detail": "internal error"}, status_code=500)

    async def limit(request: Request) -> None:
        """A token bucket for each address: the library for it, slowapi, costs far more."""
        key = request.client.host if request.client else "unknown"
        now = time.monotonic()
        tokens, at = buckets.get(key, (2e6, now))
        tokens = min(2e6, tokens + (now - at) * 1e6)
        if tokens < 1:
            raise HTTPException(429, "too many requests")
        buckets[key] = (tokens - 1, now)

    @app.get("/hello/{id}", dependencies=[Depends(limit)])
    async def hello(id: int, _: Annotated[dict[str, object], Depends(principal)]) -> Greeting:
        return Greeting(id=id, message="hello, world")

    return app


if __name__ == "__main__":
    kind, port = sys.argv[1:]
    uvicorn.run(
        {"bare": bare, "full": full}[kind](),
        port=int(port),
        log_level="error",
        access_log=False,
        loop="uvloop",
        http="httptools",
        proxy_headers=kind == "full",
    )
