"""Server-sent events: a handler returns `Events`, and the answer lasts as long as its stream.

What is wrong before the first byte is a problem like any other: the stream is opened first. From
then on neither the request's deadline nor the server's write timeout holds, only that the client
reads: the server cuts who takes nothing for a write timeout, and ``send`` waits for a slow one, so
nothing piles up here. A stream ends with its source, with ``lifetime`` (a token's, usually) or
with the client, and says when to come back, each client at another moment. A comment now and then
shows both sides that the other is there. Called by ``endpoint``.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from paceline.http.asgi import Receive, Scope, Send
from paceline.resilience import Permit

T = TypeVar("T")

LIFT: Final = "paceline.lift"
"""Where the timeout middleware leaves the way to end its deadline."""
TICKET: Final = "paceline.ticket"
"""Where the shed middleware leaves what counts the request among those in flight."""
STREAM: Final = "paceline.stream"
"""Marks the start of a response that may last: the server then bounds silence, not duration."""
EVENT_STREAM: Final = "text/event-stream"
_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # proxies that keep answers back until they are whole
)
_BEAT: Final = b":\n\n"
_SOONEST, _LATEST = 500, 3000  # milliseconds until a client should come back


@dataclass(frozen=True, slots=True)
class Events(Generic[T]):
    """A stream as an answer: what ``source`` gives, each as ``encode`` (see `event`) writes it.

    ``lifetime``: seconds until the stream ends in any case. ``heartbeat``: seconds between two
    comments. *Resources*: ``source`` is entered before the answer begins and left after it.
    """

    source: AbstractAsyncContextManager[AsyncIterator[T]]
    encode: Callable[[T], bytes]
    lifetime: float | None = None
    heartbeat: float = 15.0


def event(data: bytes, *, name: str = "", id: str = "") -> bytes:  # noqa: A002 - the field's name
    """One event as it goes over the wire. Errors: ValueError for a line break in a name or id."""
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
    """Answer with a stream. Errors: what its source raises; then the response is torn."""
    async with events.source as items:
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": list(_HEADERS),
                STREAM: True,
            }
        )
        if scope["method"] != "HEAD":
            lift: Callable[[], None] | None = scope.get(LIFT)
            if lift is not None:
                lift()
            ticket: Permit | None = scope.get(TICKET)
            if ticket is not None:
                ticket.release_early()
            await _send_all(events, items, receive, send)
    pause = random.randint(_SOONEST, _LATEST)  # noqa: S311 - spreads load, guards nothing
    await send({"type": "http.response.body", "body": b"retry: %d\n\n" % pause})


async def _send_all(
    events: Events[T], items: AsyncIterator[T], receive: Receive, send: Send
) -> None:
    async def pass_on(body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": True})

    def interrupt() -> None:
        if not limit.expired():
            limit.reschedule(0.0)

    encode = events.encode
    limit = asyncio.timeout(events.lifetime)
    try:
        async with limit:
            await pass_on(_BEAT)  # the head waits for the first part of a body
            async with (
                _beside(partial(_left, receive), interrupt),
                _beside(partial(_beat, events.heartbeat, pass_on), interrupt),
            ):
                async for item in items:
                    await pass_on(encode(item))
    except TimeoutError:
        if not limit.expired():
            raise


async def _left(receive: Receive) -> None:
    """Wait until the client has gone; not every server cancels us then."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _beat(seconds: float, pass_on: Callable[[bytes], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await pass_on(_BEAT)


@asynccontextmanager
async def _beside(
    work: Callable[[], Awaitable[None]], interrupt: Callable[[], None]
) -> AsyncGenerator[None]:
    """Run ``work`` beside the block, at most until its end; when ``work`` ends, interrupt it."""

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
