"""What a transport tells of its connection: addresses, encryption, and whether data waits."""

import asyncio
import select
from contextlib import suppress
from typing import Any


def client_address(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """The client's host and port; None for a Unix socket and for one that has disconnected."""
    info = _address(transport, "peername")
    return None if info is None or isinstance(info, str) else (str(info[0]), int(info[1]))


def server_address(transport: asyncio.BaseTransport) -> tuple[str, int | None] | None:
    """The host and port that the client has connected to; of a Unix socket its path and None."""
    info = _address(transport, "sockname")
    if info is None:
        return None
    return (info, None) if isinstance(info, str) else (str(info[0]), int(info[1]))


def scheme(transport: asyncio.BaseTransport) -> str:
    """``https`` over TLS, else ``http``."""
    return "http" if transport.get_extra_info("sslcontext") is None else "https"


def has_unread_data(transport: asyncio.BaseTransport) -> bool:
    """Whether the kernel holds data of the client, which closing would destroy."""
    opened = transport.get_extra_info("socket")
    if opened is None or opened.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(opened.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _address(transport: asyncio.BaseTransport, name: str) -> tuple[Any, ...] | str | None:
    with suppress(OSError):  # uvloop asks the kernel, where the client may be gone already
        found = transport.get_extra_info(name)
        return found if found is None or isinstance(found, str) else tuple(found)
    return None
