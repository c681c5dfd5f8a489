"""A readiness probe: sends one request and returns the first line of the response.

A refused connection is normal while a server starts, so it is not an error. Rejected: a client
library, whose own retries take seconds where a poll takes milliseconds. The caller bounds the time.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress


async def first_response_line(
    connecting: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]], request: bytes
) -> bytes:
    """The first line of the response, empty when there is none."""
    try:
        reader, writer = await connecting
    except OSError:
        return b""
    try:
        writer.write(request)
        return await reader.readline()
    except (OSError, ValueError):  # connection lost; a line without end
        return b""
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
