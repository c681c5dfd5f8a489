"""One request to a worker's admin server, over its Unix socket.

As much of HTTP as our own server sends: one response a connection, with a content length.
Rejected: a client library, which would be the supervisor's only one.
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
class AdminResponse:
    """A whole response. ``policy``: its content security policy, if it has one."""

    status: int
    content_type: bytes
    body: bytes
    policy: bytes = b""


async def fetch(
    admin: Path,
    target: str,
    *,
    method: str = "GET",
    accept: str = "*/*",
    body: bytes = b"",
    timeout: float = 5.0,  # noqa: ASYNC109 - one request is one unit
) -> AdminResponse:
    """Fetch ``target``, a path with its query, within ``timeout`` seconds.

    Errors: Error(UNAVAILABLE) when there is no whole response.
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
                return await _read_response(reader)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (TimeoutError, *_FAILURES) as exc:
        raise Error(Code.UNAVAILABLE, "the worker does not answer") from exc


async def _read_response(reader: asyncio.StreamReader) -> AdminResponse:
    line, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    _, status, *_ = line.split(b" ", 2)
    pairs = (field.split(b": ", 1) for field in lines if field)
    fields = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
    kind, policy = fields.get(b"content-type", b""), fields.get(b"content-security-policy", b"")
    return AdminResponse(int(status), kind, body, policy)
