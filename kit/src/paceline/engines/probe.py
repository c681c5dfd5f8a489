"""Is a server up? One question, one line of its answer, over streams.

Not up and not ready are ordinary while a server starts, so nothing is raised for them. No client
library: one that retries by itself takes seconds where a poll takes milliseconds. Used by ``nats``
and ``redis``, through ``process``, which bounds the time.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress


async def first_line(
    connecting: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]], question: bytes
) -> bytes:
    """The first line of the answer, empty when there is none."""
    try:
        reader, writer = await connecting
    except OSError:
        return b""
    try:
        writer.write(question)
        return await reader.readline()
    except (OSError, ValueError):  # gone again; a line without end
        return b""
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
