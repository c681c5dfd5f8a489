"""Closing a listening port that others share (SO_REUSEPORT), and no connection with it.

The kernel deals new connections out among the sockets of such a port, and resets what waits in a
socket's queue when it is closed. So first the socket gets a filter that drops what opens a
connection: that client asks again a second later and is dealt to another socket. What had begun is
accepted meanwhile; then the socket is closed. grpcio, which can neither take a socket nor close one
while it serves, is left a descriptor on which nothing ever comes. Rejected:
``net.ipv4.tcp_migrate_req``, which only an administrator can set. Linux only. Used by ``server``.
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


def refuse_new(port: int) -> bool:
    """Let this process's listening sockets on ``port`` drop whoever is new; False if impossible."""
    code = b"".join(struct.pack("=HBBI", *step) for step in _PROGRAM)
    memory = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(_PROGRAM), ctypes.addressof(memory))
    found = False
    for _, opened in _sockets(port):
        if _listens(opened):
            with suppress(OSError):  # the sandbox forbids it
                opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
                found = True
    return found


def close_listeners(port: int) -> None:
    """Close this process's listening sockets on ``port`` behind the back of whoever has them.

    Their descriptors stay valid, on a socket that nobody knows, until their owner closes them.
    """
    handles = [handle for handle, opened in _sockets(port) if _listens(opened)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as silent:
        silent.bind("")  # a name of the kernel's choice
        silent.listen(1)
        for handle in handles:
            os.dup2(silent.fileno(), handle, inheritable=False)


def count_connections(port: int) -> int:
    """How many connections this process has accepted on ``port`` and not closed."""
    return sum(not _listens(opened) for _, opened in _sockets(port))


def _sockets(port: int) -> Iterator[tuple[int, socket.socket]]:
    """Each descriptor of a socket on a local port, and a second one until the next is asked for."""
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
