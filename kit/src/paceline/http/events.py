"""Server-sent events: a handler returns `Events`, and the response lasts as long as its stream.

An error before the first byte is a problem like any other, because the stream is opened first. From
then on neither the request's deadline nor the server's write timeout bounds the response, only that
the client reads: the server cuts a client that takes nothing for a write timeout, and ``send``
waits for a slow one, so nothing accumulates here. A stream ends with its source, with ``lifetime``
(usually a token's), with the key of its token, or with the client. Its last line is a random time
to reconnect after, so that clients do not return all at once. Comments at intervals keep the
connection alive through proxies.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from paceline.edge import RECHECK_INTERVAL, TokenVerifier, token_watched
from paceline.http.asgi import (
    LIFT_DEADLINE,
    PERMIT,
    STREAMING,
    VERIFIER,
    Receive,
    Scope,
    Send,
    headers_of,
)
from paceline.resilience import Permit

T = TypeVar("T")

EVENT_STREAM: Final = "text/event-stream"
_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # for proxies that would hold a response until it is whole
)
_COMMENT: Final = b":\n\n"
_MIN_RETRY, _MAX_RETRY = 500, 3000  # milliseconds until a client should reconnect


@dataclass(frozen=True, slots=True)
class Events(Generic[T]):
    """A stream as a response: each item of ``source``, as ``encode`` (see `event`) writes it.

    ``lifetime``: seconds until the stream ends in any case. ``heartbeat``: seconds between two
    comments. ``recheck``: seconds between two looks whether the caller's token is still accepted;
    the stream ends when it is not. *Resources*: ``source`` is entered before the response begins
    and left after it.

    Example: ``return Events(feed.subscribe(), lambda item: event(encode(item)), lifetime=3600)``.
    """

    source: AbstractAsyncContextManager[AsyncIterator[T]]
    encode: Callable[[T], bytes]
    lifetime: float | None = None
    heartbeat: float = 15.0
    recheck: float = RECHECK_INTERVAL


def event(data: bytes, *, name: str = "", id: str = "") -> bytes:  # noqa: A002 - the field's name
    """One event as it is sent. Errors: ValueError for a line break in a name or id."""
    lines: list[bytes] = []
    for field, value in ((b"id", id), (b"event", name)):
        if "\n" in value or "\r" in value or "\0" in value:
            raise ValueError(f"not possible in an event: {value!r}")
        if value:
            lines.append(b"%b: %b\n" % (field, value.encode()))
    lines += [b"data: %b\n" % line for line in data.splitlines() or [b""]]
    return b"".join((*lines, b"\n"))


async def send_events(
    events: Events[T],
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    status: int,
) -> None:
    """Answer with a stream. Errors: what its source raises, and the response is then torn."""
    async with events.source as items:
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": list(_HEADERS),
                STREAMING: True,
            }
        )
        if scope["method"] != "HEAD":
            lift_deadline: Callable[[], None] | None = scope.get(LIFT_DEADLINE)
            if lift_deadline is not None:
                lift_deadline()
            permit: Permit | None = scope.get(PERMIT)
            if permit is not None:
                permit.release_early()
            await _send_all(events, items, scope, receive, send)
    retry = random.randint(_MIN_RETRY, _MAX_RETRY)  # noqa: S311 - spreads load, guards nothing
    await send({"type": "http.response.body", "body": b"retry: %d\n\n" % retry})


async def _send_all(
    events: Events[T], items: AsyncIterator[T], scope: Scope, receive: Receive, send: Send
) -> None:
    async def send_part(body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": True})

    def interrupt() -> None:
        if not limit.expired():
            limit.reschedule(0.0)

    encode = events.encode
    limit = asyncio.timeout(events.lifetime)
    try:
        async with limit:
            await send_part(_COMMENT)  # the head is sent with the first part of a body
            async with (
                _in_background(partial(_until_disconnected, receive), interrupt),
                _in_background(partial(_send_comments, events.heartbeat, send_part), interrupt),
            ):
                with _token_watched(scope, interrupt, events.recheck):
                    async for item in items:
                        await send_part(encode(item))
    except TimeoutError:
        if not limit.expired():
            raise


def _token_watched(
    scope: Scope, interrupt: Callable[[], None], interval: float
) -> AbstractContextManager[None]:
    verifier: TokenVerifier | None = scope.get(VERIFIER)
    if verifier is None:
        return nullcontext()  # a public route
    authorization = headers_of(scope).get(b"authorization")
    return token_watched(verifier, authorization, interrupt, interval=interval)


async def _until_disconnected(receive: Receive) -> None:
    """Wait until the client has disconnected; not every server cancels the request then."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_comments(interval: float, send_part: Callable[[bytes], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(interval)
        await send_part(_COMMENT)


@asynccontextmanager
async def _in_background(
    work: Callable[[], Awaitable[None]], interrupt: Callable[[], None]
) -> AsyncGenerator[None]:
    """Run ``work`` during the block and no longer; when ``work`` ends first, interrupt it."""

    async def run() -> None:
        try:
            await work()
        except Exception:
            interrupt()
            raise
        interrupt()

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.result()
