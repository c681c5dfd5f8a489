"""The sockets of a supervisor: one to accept from, one that only reserves a port.

The listening socket is opened once and inherited, so its queue outlives every worker. A server
that cannot take a socket (gRPC's) opens its own in each worker with SO_REUSEPORT; the supervisor
binds the port without listening, which finds a port in use before anything starts, chooses a free
one for port 0, and gets no connections.
"""

import socket
from typing import Final

from paceline.http.server import bind_socket, listen_error

_BACKLOG: Final = 2048


def open_listener(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A listening socket on the first address of ``host``.

    Errors: Error(FAILED_PRECONDITION). *Resources*: the socket is the caller's.
    """
    opened = _bound(host, port, reuse_port=reuse_port)
    opened.listen(_BACKLOG)
    return opened


def reserve(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that reserves a port for sockets with SO_REUSEPORT; it never listens.

    ``shared``: another process may have it already. Errors: Error(FAILED_PRECONDITION).
    *Resources*: the socket is the caller's.
    """
    if port and not shared:
        _bound(host, port, reuse_port=False).close()
    return _bound(host, port, reuse_port=True)


def port_of(opened: socket.socket) -> int:
    """The port of a bound socket."""
    port: int = opened.getsockname()[1]
    return port


def _bound(host: str, port: int, *, reuse_port: bool) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise listen_error(host, port, exc) from exc
    try:
        bind_socket(opened, address, reuse_port=reuse_port)
    except OSError as exc:
        opened.close()
        raise listen_error(host, port, exc) from exc
    return opened
