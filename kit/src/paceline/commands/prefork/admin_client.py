"""One question to a worker's admin server, over its Unix socket.

As much of HTTP as our own server answers: one request a connection, a length before the body.
Rejected: a client library, which would be the supervisor's only one. Used by ``admin``.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from paceline.errors import Code, Error

_LIMIT: Final = 256 * 1024  # of the head's lines together; bodies have no limit
_FAILURES: Final = (
    OSError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
    ValueError,  # it is not HTTP
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What it said."""

    status: int
    content_type: bytes
    body: bytes


async def ask(
    admin: Path,
    target: str,
    *,
    method: str = "GET",
    accept: str = "*/*",
    body: bytes = b"",
    timeout: float = 5.0,  # noqa: ASYNC109 - one question is one unit
) -> Answer:
    """Ask for ``target``, a path with its query, within ``timeout`` seconds.

    Errors: Error(UNAVAILABLE) when there is no whole answer.
    """
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Accept: {accept}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_unix_connection(str(admin), limit=_LIMIT)
            try:
                writer.write(head.encode("latin-1") + body)
                return await _answer(reader)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (TimeoutError, *_FAILURES) as exc:
        raise Error(Code.UNAVAILABLE, "the worker does not answer") from exc


async def _answer(reader: asyncio.StreamReader) -> Answer:
    line, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    _, status, *_ = line.split(b" ", 2)
    fields = dict(field.lower().split(b": ", 1) for field in lines if field)
    body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
    return Answer(int(status), fields.get(b"content-type", b""), body)
