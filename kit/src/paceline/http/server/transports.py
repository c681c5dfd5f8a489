"""What a transport tells of its connection: addresses, encryption, whether data waits; sending."""

import asyncio
import os
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


def plain_descriptor(transport: asyncio.BaseTransport) -> int:
    """The descriptor of a socket that carries what is written as it is; -1 where there is none."""
    opened = transport.get_extra_info("socket")
    if opened is None or transport.get_extra_info("sslcontext") is not None:
        return -1
    return int(opened.fileno())


def send_now(transport: asyncio.Transport, descriptor: int, data: bytes) -> None:
    """Send before anything else is done, as much as the kernel takes; the rest is written.

    ``descriptor``: see `plain_descriptor`. A write of uvloop's waits for the end of the callbacks.
    """
    if descriptor >= 0 and not transport.is_closing() and not transport.get_write_buffer_size():
        try:
            sent = os.write(descriptor, data)
        except OSError:
            sent = 0  # the kernel takes nothing, or the client has left, which the transport finds
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)


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
