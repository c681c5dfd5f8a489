"""The sockets of a supervisor: one to accept from, one that only keeps a port.

The listening socket is opened once and inherited, so its queue outlives every worker. A server
that cannot take a socket (gRPC's) opens its own in each worker with SO_REUSEPORT; the supervisor
binds the port without listening, which finds a taken port before anything starts, gives a free
number for port 0, and gets no connections. Used by ``__main__``.
"""

import errno
import os
import socket
from typing import Final

from paceline.errors import Code, Error

_BACKLOG: Final = 2048


def open_listener(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A listening socket on the first address of ``host``.

    Errors: Error(FAILED_PRECONDITION). *Resources*: the caller's.
    """
    opened = _bound(host, port, reuse_port=reuse_port)
    opened.listen(_BACKLOG)
    return opened


def reserve(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that keeps a port for others with SO_REUSEPORT; it never listens.

    ``shared``: somebody else may have it already. Errors: Error(FAILED_PRECONDITION).
    *Resources*: the caller's.
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
        raise _explained(host, port, exc) from exc
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
    except OSError as exc:
        opened.close()
        raise _explained(host, port, exc) from exc
    return opened


def _explained(host: str, port: int, exc: OSError) -> Error:
    where = f"port {port} on {host}"
    if exc.errno == errno.EADDRINUSE:
        text = f"{where} is in use: stop the process that has it, or choose another port"
    elif exc.errno == errno.EACCES:
        text = f"{where} needs privileges: choose a port from 1024 on"
    else:
        reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror
        text = f"cannot listen to {where}: {reason}"
    return Error(Code.FAILED_PRECONDITION, text)
