"""The listening sockets of a supervisor, opened once: their queues outlive every worker."""

import socket
from typing import Final

from paceline.http.server import bind_socket, listen_error

_BACKLOG: Final = 2048


def open_listener(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A listening socket on the first address of ``host``.

    Errors: Error(FAILED_PRECONDITION). *Resources*: the socket is the caller's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise listen_error(host, port, exc) from exc
    try:
        bind_socket(opened, address, reuse_port=reuse_port)
        opened.listen(_BACKLOG)
    except OSError as exc:
        opened.close()
        raise listen_error(host, port, exc) from exc
    return opened


def port_of(opened: socket.socket) -> int:
    """The port of a bound socket."""
    port: int = opened.getsockname()[1]
    return port
