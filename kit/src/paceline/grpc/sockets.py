"""Closing a listening port that other processes share (SO_REUSEPORT) without losing a connection.

The kernel distributes new connections over the sockets of such a port, and resets those in a
socket's queue when it is closed. So the socket first gets a filter that drops SYN packets: such a
client retries a second later and is given to another socket. Connections that had begun are
accepted meanwhile; then the socket is closed. grpcio can neither take a socket nor close one while
it serves, so its descriptor is replaced by a socket on which nothing ever arrives. Rejected:
``net.ipv4.tcp_migrate_req``, which only an administrator can set. Linux only.
"""

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_SO_ATTACH_FILTER: Final = 26
# Classic BPF over the TCP header: load its flags; is it SYN without ACK? Drop it, or let it pass.
_LOAD_BYTE, _AND, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06
_FLAGS_AT, _SYN_ACK, _SYN = 13, 0x12, 0x02
_PROGRAM: Final = (
    (_LOAD_BYTE, 0, 0, _FLAGS_AT),
    (_AND, 0, 0, _SYN_ACK),
    (_JUMP_IF_EQUAL, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0xFFFFFFFF),
)


def drop_new_connections(port: int) -> bool:
    """Drop new connections at this process's listening sockets on ``port``; False if impossible."""
    code = b"".join(struct.pack("=HBBI", *step) for step in _PROGRAM)
    memory = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(_PROGRAM), ctypes.addressof(memory))
    found = False
    for _, opened in _sockets(port):
        if _listens(opened):
            with suppress(OSError):  # a sandbox may forbid it
                opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
                found = True
    return found


def close_listeners(port: int) -> None:
    """Close this process's listening sockets on ``port``, whoever owns them.

    Their descriptors stay valid, on a socket that nobody can reach, until their owner closes them.
    """
    handles = [handle for handle, opened in _sockets(port) if _listens(opened)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as unreachable:
        unreachable.bind("")  # a name that the kernel chooses
        unreachable.listen(1)
        for handle in handles:
            os.dup2(unreachable.fileno(), handle, inheritable=False)


def count_connections(port: int) -> int:
    """How many connections this process has accepted on ``port`` and not closed."""
    return sum(not _listens(opened) for _, opened in _sockets(port))


def _sockets(port: int) -> Iterator[tuple[int, socket.socket]]:
    """Each descriptor of a socket on a local port, with a duplicate that lives for one step."""
    if sys.platform != "linux":
        return
    for entry in [*Path("/proc/self/fd").iterdir()]:
        with suppress(OSError):  # closed meanwhile
            if not str(entry.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as opened:
                inet = opened.family in (socket.AF_INET, socket.AF_INET6)
                if inet and opened.getsockname()[1] == port:
                    yield int(entry.name), opened


def _listens(opened: socket.socket) -> bool:
    return bool(opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
