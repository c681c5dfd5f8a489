"""Accepting: every client that waits is let in at once, as many as there may be.

uvloop accepts one connection in each round of its loop, so while a loaded server's rounds take ten
milliseconds, new clients queue in the kernel for seconds, where nobody counts them or tells them
that there is no room. Here a listening socket that is readable is emptied. Beyond ``most``
connections a client gets a 503 and is gone. So does one whose first request the gate refuses, which
is looked at before there is a transport, a parser and a task: clients that give up and connect
again are what keeps an overload going after its cause has gone. Without file descriptors for more
the server rests for a moment and goes on. Used by ``server``.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

from paceline.errors import Code, Error
from paceline.http.server.head import problem_response
from paceline.http.server.state import AdmissionCheck

_REST: Final = 0.2
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_END: Final = b"\r\n\r\n"
_PEEK: Final = 4096
_FULL: Final = problem_response(
    HTTPStatus.SERVICE_UNAVAILABLE, "too many connections, try again later", b"retry-after: 1\r\n"
)


async def bound(host: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    """Sockets at each address of ``host``. Errors: OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            bind(sock, address, reuse_port=reuse_port)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def bind(sock: socket.socket, address: tuple[Any, ...], *, reuse_port: bool) -> None:
    """Bind as every listening socket of ours is. Errors: OSError."""
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(address)


def cannot_listen(host: str, port: int, exc: OSError) -> Error:
    """Why an address cannot be had, and what to do."""
    where = f"port {port} on {host}"
    if exc.errno == errno.EADDRINUSE:
        text = f"{where} is in use: stop the process that has it, or choose another port"
    elif exc.errno == errno.EACCES:
        text = f"{where} needs privileges: choose a port from 1024 on"
    else:
        reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror
        text = f"cannot listen to {where}: {reason}"
    return Error(Code.FAILED_PRECONDITION, text)


class Listener:
    """Accepts from ``sockets``, which it owns and listens to, until `close`.

    ``connect`` makes each connection's protocol; ``count`` says how many there are, ``most`` how
    many there may be; ``at_once``: so many are accepted, then other work has its turn; ``failed``
    is told when none can be accepted for lack of something. ``gate`` is asked about a first request
    that is there already.

    *Resources*: the sockets, and a task for each connection that is being set up.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        connect: Callable[[], asyncio.BaseProtocol],
        *,
        backlog: int,
        count: Callable[[], int],
        most: int,
        at_once: int,
        failed: Callable[[OSError], object],
        gate: AdmissionCheck | None = None,
    ) -> None:
        self.sockets: tuple[socket.socket, ...] = tuple(sockets)
        self._connect = connect
        self._count = count
        self._most = most
        self._at_once = at_once
        self._failed = failed
        self._gate = gate
        self._loop = asyncio.get_running_loop()
        self._setups: set[asyncio.Task[object]] = set()
        self._on_the_way = 0  # accepted, and not yet counted
        self._rests: dict[int, asyncio.TimerHandle] = {}
        for sock in self.sockets:
            sock.setblocking(False)
            sock.listen(backlog)
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    def close(self) -> None:
        """Accept nobody any more; may be repeated."""
        sockets, self.sockets = self.sockets, ()
        for rest in self._rests.values():
            rest.cancel()
        for sock in sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()

    async def wait_closed(self) -> None:
        """Wait for the connections that were being set up."""
        if self._setups:
            await asyncio.wait(self._setups)

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(self._at_once):
            try:
                client, _ = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as exc:
                if exc.errno not in _EXHAUSTED:
                    raise
                self._failed(exc)
                self._rest(sock)
                return
            client.setblocking(False)
            if self._count() + self._on_the_way >= self._most:
                _turn_away(client, _FULL)
                continue
            if self._gate is not None and (refusal := _refusal(client, self._gate)):
                _turn_away(client, refusal)
                continue
            task: asyncio.Task[object] = self._loop.create_task(
                self._loop.connect_accepted_socket(self._arrived, client)
            )
            self._on_the_way += 1
            self._setups.add(task)
            task.add_done_callback(self._set_up)

    def _arrived(self) -> asyncio.BaseProtocol:
        self._on_the_way -= 1
        return self._connect()

    def _set_up(self, task: "asyncio.Task[object]") -> None:
        self._setups.discard(task)
        if not task.cancelled():
            task.exception()  # the client is gone already: nobody to tell

    def _rest(self, sock: socket.socket) -> None:
        """Look away for a moment: the socket stays readable, and we would turn round and round."""
        self._loop.remove_reader(sock.fileno())
        self._rests[sock.fileno()] = self._loop.call_later(_REST, self._go_on, sock)

    def _go_on(self, sock: socket.socket) -> None:
        self._rests.pop(sock.fileno(), None)
        self._loop.add_reader(sock.fileno(), self._accept, sock)


def _refusal(client: socket.socket, gate: AdmissionCheck) -> bytes | None:
    """The answer to a first request that is refused, and closed after; None: it goes its way.

    Only one without a body, and whole: of anything else some could come after we have closed, which
    would destroy the answer. It is not parsed, so whatever is unusual goes its way, too.
    """
    try:
        data = client.recv(_PEEK, socket.MSG_PEEK)
    except OSError:
        return None
    if not data.startswith((b"GET /", b"HEAD /")) or data.find(_END) != len(data) - len(_END):
        return None
    method, _, rest = data.partition(b" ")
    path = rest[: rest.find(b" ")].partition(b"?")[0]
    if b"%" in path or not path.isascii():
        return None
    answer = gate.refusal(method.decode(), path.decode())
    if answer is not None:
        client.recv(_PEEK)
        status_line, _, others = answer.partition(b"\r\n")
        return b"%b\r\nconnection: close\r\n%b" % (status_line, others)
    return None


def _turn_away(client: socket.socket, answer: bytes) -> None:
    try:
        client.send(answer)
        client.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it is gone already
    finally:
        client.close()
