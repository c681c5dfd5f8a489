"""Accepting connections: a readable listening socket is emptied in one round of the loop.

uvloop accepts one connection in each round, so while a loaded server's rounds take ten
milliseconds, new clients queue in the kernel for seconds, uncounted and without an answer. Here all
that wait are accepted, up to ``max_connections``; beyond it a client gets a 503 and is closed. So
does one whose first request the admission check rejects, before there is a transport, a parser and
a task for it: clients that time out and reconnect are what keeps an overload going after its cause
has ended. When file descriptors run out the listener pauses and tries again. Of a socket that
other processes have, too, each takes its share (`FairShare`).

Over TLS both are closed without an answer, which they could not read before a handshake. A
handshake counts as a connection, has its own timeout, and holds nothing but its socket.
"""

import asyncio
import errno
import os
import select
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from paceline.errors import Code, Error
from paceline.http.server.fair_share import FairShare
from paceline.http.server.http1 import problem_response
from paceline.http.server.limits import ServerLimits
from paceline.http.server.refusals import too_many_connections
from paceline.http.server.state import AdmissionCheck
from paceline.http.server.tls import TlsFiles

_UNCHECKED_SECONDS: Final = 0.1  # of the rate may come at once
_PAUSE: Final = 0.2
_TURN: Final = 0.001
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_HEAD_END: Final = b"\r\n\r\n"
_PEEK: Final = 4096
_TOO_MANY_CONNECTIONS: Final = problem_response(too_many_connections(), b"retry-after: 1\r\n")


async def bound_sockets(host: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    """Sockets bound to each address of ``host``. Errors: OSError. *Resources*: the caller's."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            bind_socket(sock, address, reuse_port=reuse_port)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def bind_socket(sock: socket.socket, address: tuple[Any, ...], *, reuse_port: bool) -> None:
    """Bind with the options of every listening socket here. Errors: OSError."""
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(address)


def listen_error(host: str, port: int, exc: OSError) -> Error:
    """Why an address is not available, and what to do."""
    where = f"port {port} on {host}"
    if exc.errno == errno.EADDRINUSE:
        text = f"{where} is in use: stop the process that has it, or choose another port"
    elif exc.errno == errno.EACCES:
        text = f"{where} needs privileges: choose a port from 1024 on"
    else:
        reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror
        text = f"cannot listen to {where}: {reason}"
    return Error(Code.FAILED_PRECONDITION, text)


def _ignore(_exc: BaseException) -> None:
    pass


class Listener:
    """Accepts from ``sockets``, which it owns and listens to, until `close`.

    ``connect`` makes each connection's protocol; ``count`` gives the number of open connections.
    ``max_accepts``: in a row, before other work has its turn. ``on_error`` is called when a
    resource for more connections is exhausted. ``admission_check`` decides about a first request
    that has arrived already. ``tls``: connections begin with a handshake, by its context at that
    time; ``on_handshake_error`` is called with why one failed. ``share``: of what the sockets
    bring.

    *Resources*: the sockets, the share, and a task for each connection that is being set up.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        connect: Callable[[], asyncio.BaseProtocol],
        *,
        limits: ServerLimits,
        count: Callable[[], int],
        max_accepts: int,
        on_error: Callable[[OSError], object],
        admission_check: AdmissionCheck | None = None,
        tls: TlsFiles | None = None,
        on_handshake_error: Callable[[BaseException], object] = _ignore,
        share: FairShare | None = None,
    ) -> None:
        self.sockets: tuple[socket.socket, ...] = tuple(sockets)
        self._connect = connect
        self._count = count
        self._limits = limits
        self._max_accepts = max_accepts
        self._unchecked = self._unchecked_at = 0.0
        self._on_error = on_error
        self._admission_check = admission_check if tls is None else None
        self._tls = tls
        self._on_handshake_error = on_handshake_error
        self._share = share
        self._loop = asyncio.get_running_loop()
        self._setups: set[asyncio.Task[object]] = set()
        self._uncounted = 0  # accepted, and not yet a connection
        self._paused: dict[int, asyncio.TimerHandle] = {}
        if share is not None:
            share.join()
        for sock in self.sockets:
            sock.setblocking(False)
            sock.listen(limits.backlog)
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    def close(self) -> None:
        """Stop accepting; may be repeated.

        Who waits in the kernel just now is accepted first, unless other processes can do that:
        closing the socket would reset these connections.
        """
        sockets, self.sockets = self.sockets, ()
        share, self._share = self._share, None
        if share is not None:
            share.close()
        else:
            self._max_accepts = self._limits.backlog + 1  # all that the kernel holds
            for sock in sockets:
                self._accept(sock)
        for timer in self._paused.values():
            timer.cancel()
        for sock in sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()

    async def wait_closed(self, seconds: float) -> None:
        """Wait for the connections that are being set up; close those that take longer."""
        late = set(self._setups)
        try:
            if late:
                _, late = await asyncio.wait(late, timeout=seconds)
        finally:
            for task in late:
                task.cancel()
        if late:
            await asyncio.wait(late)

    def _accept(self, sock: socket.socket) -> None:
        share = self._share
        for _ in range(self._max_accepts):
            if share is not None and not share.is_due(self._total(), self._loop.time()):
                self._wait_for_turn(sock)
                return
            try:
                client, _ = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as exc:
                if exc.errno not in _EXHAUSTED:
                    raise
                self._on_error(exc)
                self._pause(sock)
                return
            client.setblocking(False)
            if self._total() >= self._limits.max_connections:
                _reject(client, b"" if self._tls else _TOO_MANY_CONNECTIONS)
                continue
            check = self._admission_check
            if check is not None and self._are_many() and (rejection := _rejection(client, check)):
                _reject(client, rejection)
                continue
            self._uncounted += 1
            task: asyncio.Task[object] = self._loop.create_task(
                self._loop.connect_accepted_socket(self._make_protocol, client)
                if self._tls is None
                else self._shake_hands(client, self._tls)
            )
            self._setups.add(task)
            task.add_done_callback(self._end_setup)
        if share is not None:
            share.publish(self._total())

    def _are_many(self) -> bool:
        """Whether more connections arrive than are set up without a look at their first request.

        A refusal on a connection that is there costs a third of one that comes with a connection,
        and a client whose connection is closed comes with another one.
        """
        now, rate = self._loop.time(), self._limits.unchecked_connections
        left = min(self._unchecked + (now - self._unchecked_at) * rate, rate * _UNCHECKED_SECONDS)
        self._unchecked_at = now
        many = left < 1
        self._unchecked = left if many else left - 1
        return many

    def _total(self) -> int:
        return self._count() + self._uncounted

    def _wait_for_turn(self, sock: socket.socket) -> None:
        """Let another process accept; a readable socket would keep the loop busy meanwhile."""
        self._loop.remove_reader(sock.fileno())
        self._paused[sock.fileno()] = self._loop.call_later(_TURN, self._take_turn, sock)

    def _take_turn(self, sock: socket.socket) -> None:
        self._resume(sock)
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        if poll.poll(0):
            self._accept(sock)
        elif self._share is not None:
            self._share.reset()

    def _make_protocol(self) -> asyncio.BaseProtocol:
        # The loop calls `connection_made`, from which on it counts, in its next round, too.
        self._loop.call_soon(self._count_down)
        return self._connect()

    def _count_down(self) -> None:
        self._uncounted -= 1

    async def _shake_hands(self, client: socket.socket, tls: TlsFiles) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._connect,
                client,
                ssl=tls.context,
                ssl_handshake_timeout=self._limits.handshake_timeout,
                ssl_shutdown_timeout=self._limits.linger,
            )
        except OSError as exc:  # among them those of TLS
            self._on_handshake_error(exc)
        finally:
            self._uncounted -= 1

    def _end_setup(self, task: "asyncio.Task[object]") -> None:
        self._setups.discard(task)
        if not task.cancelled():
            task.exception()  # the client has disconnected already; retrieved, so not logged

    def _pause(self, sock: socket.socket) -> None:
        """Stop reading for a moment: the socket stays readable, and the loop would spin."""
        if self._share is not None:
            self._share.leave()
        self._loop.remove_reader(sock.fileno())
        self._paused[sock.fileno()] = self._loop.call_later(_PAUSE, self._resume, sock)

    def _resume(self, sock: socket.socket) -> None:
        if self._share is not None:
            self._share.join()
        self._paused.pop(sock.fileno(), None)
        self._loop.add_reader(sock.fileno(), self._accept, sock)


def _rejection(client: socket.socket, check: AdmissionCheck) -> bytes | None:
    """The answer to a first request that is rejected, after which to close; None: go on.

    Only for a whole request without a body: of any other, bytes could arrive after the close, which
    would destroy the answer. The request is not parsed, so whatever is unusual goes on, too.
    """
    try:
        data = client.recv(_PEEK, socket.MSG_PEEK)
    except OSError:
        return None
    whole = data.find(_HEAD_END) == len(data) - len(_HEAD_END)
    if not whole or not data.startswith((b"GET /", b"HEAD /")):
        return None
    method, _, rest = data.partition(b" ")
    path = rest[: rest.find(b" ")].partition(b"?")[0]
    if b"%" in path or not path.isascii():
        return None
    answer = check.rejection(method.decode(), path.decode())
    if answer is not None:
        client.recv(_PEEK)
        return answer.http1_head_closing if method == b"HEAD" else answer.http1_closing
    return None


def _reject(client: socket.socket, answer: bytes) -> None:
    try:
        if answer:
            client.send(answer)
        client.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the client has disconnected already
    finally:
        client.close()
