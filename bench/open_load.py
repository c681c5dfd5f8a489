"""An open-loop HTTP load: requests leave when they are due, whatever became of those before.

A closed loop slows down with its server and so cannot overload it; this one goes on at its rate, as
a world of independent clients does. A latency counts from the moment at which the request was due
(Gil Tene's "coordinated omission"), and a client that has no answer after ``patience`` gives up and
closes its connection. The requests are made before the clock starts, and sent on raw sockets with
epoll, a connection for as many as are out at once. ``python bench/open_load.py`` reads a plan as
JSON from stdin and prints what came of it as one JSON line. Used by ``overload``.
"""

import gc
import json
import select
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from time import perf_counter

from load import END, BadAnswer, Plan, quantile, scan, spelled_length

BIN = 0.1
REFUSED = (429, 503)
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Phase:
    """So many requests a second, for so many seconds."""

    rate: float
    seconds: float


@dataclass(frozen=True)
class OpenPlan:
    """``requests`` says what to send (its connections are opened before the clock starts).

    ``most``: connections; a request that finds none waits for one. ``patience``: seconds.
    """

    requests: Plan
    phases: Sequence[Phase]
    patience: float = 1.0
    most: int = 800


@dataclass
class Tally:
    """What became of the requests of a while. Latencies in seconds."""

    offered: int = 0
    good: list[float] = field(default_factory=list[float])
    refused: list[float] = field(default_factory=list[float])
    given_up: int = 0
    failed: int = 0

    def add(self, other: "Tally") -> None:
        """Take the other's in."""
        self.offered += other.offered
        self.good += other.good
        self.refused += other.refused
        self.given_up += other.given_up
        self.failed += other.failed

    def told(self) -> dict[str, float]:
        """In numbers; times in ms."""
        good, refused = sorted(self.good), sorted(self.refused)
        times = {
            "p50": quantile(good, 0.5), "p99": quantile(good, 0.99),
            "refused_p50": quantile(refused, 0.5), "refused_p99": quantile(refused, 0.99),
        }  # fmt: skip
        return {
            "offered": self.offered, "good": len(good), "refused": len(refused),
            "given_up": self.given_up, "failed": self.failed,
            **{name: round(seconds * 1000, 2) for name, seconds in times.items()},
        }  # fmt: skip


@dataclass(frozen=True)
class OpenResult:
    """What came of a plan: a `Tally.told` for each phase and each bin, and how late we were."""

    phases: list[dict[str, float]]
    bins: list[dict[str, float]]
    late_p99_ms: float


class OpenLoad:
    """One run of a plan. *Resources*: its sockets, until `run` returns."""

    def __init__(self, plan: OpenPlan) -> None:
        self._plan = plan
        self._next: Callable[[], bytes] = cycle(plan.requests.requests()).__next__
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._due: dict[int, float] = {}  # of the request that is out
        self._held: dict[int, bytes] = {}
        self._unsent: dict[int, bytes] = {}  # while the connection is not there yet
        self._free: list[int] = []
        self._waiting: deque[float] = deque()  # due, and without a connection
        self._out: deque[tuple[float, int]] = deque()  # in the order of their ends
        self._marker = b"\r\ncontent-length: "
        self._bins: list[Tally] = []
        self._begin = 0.0
        self._lateness: list[float] = []

    def run(self) -> OpenResult:
        """Load the server."""
        gc.collect()
        gc.freeze()
        gc.disable()
        phases = self._plan.phases
        length = sum(phase.seconds for phase in phases)
        self._bins = [Tally() for _ in range(round(length / BIN) + 1)]
        try:
            for _ in range(self._plan.requests.connections):
                self._free.append(self._open())
            self._begin = perf_counter() + 0.05
            self._exchange(_dues(phases, self._begin), self._begin + length)
        finally:
            gc.enable()
            for fd in list(self._sockets):
                self._close(fd)
            self._epoll.close()
        return self._told()

    def _exchange(self, dues: Iterator[float], end: float) -> None:
        poll, patience = self._epoll.poll, self._plan.patience
        due = next(dues, None)
        while due is not None or self._due or self._waiting:
            now = perf_counter()
            while due is not None and due <= now:
                self._tally(due).offered += 1
                self._lateness.append(now - due)
                self._send(due)
                due = next(dues, None)
            self._give_up(now - patience)
            for fd, event in poll(max(0.0, due - perf_counter()) if due is not None else 0.01, 256):
                if fd not in self._sockets:
                    continue
                if event & select.EPOLLOUT and fd in self._unsent:
                    self._connected(fd)
                if event & ~select.EPOLLOUT:
                    self._receive(fd)
            if now > end + patience + 1:
                break

    def _tally(self, due: float) -> Tally:
        return self._bins[int((due - self._begin) / BIN)]

    def _send(self, due: float) -> None:
        if self._free:
            fd = self._free.pop()
        elif len(self._sockets) < self._plan.most:
            fd = self._open()
        else:
            self._waiting.append(due)
            return
        self._due[fd] = due
        self._out.append((due, fd))
        request = self._next()
        try:
            self._sockets[fd].send(request)
        except (BlockingIOError, ConnectionError, OSError):
            self._unsent[fd] = request
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)

    def _connected(self, fd: int) -> None:
        try:
            self._sockets[fd].send(self._unsent.pop(fd))
        except OSError:
            self._lose(fd)
        else:
            self._epoll.modify(fd, select.EPOLLIN)

    def _give_up(self, before: float) -> None:
        while self._waiting and self._waiting[0] < before:
            self._tally(self._waiting.popleft()).given_up += 1
        while self._out and self._out[0][0] < before:
            due, fd = self._out.popleft()
            if self._due.get(fd) == due:
                self._tally(due).given_up += 1
                del self._due[fd]
                self._close(fd)
                self._serve_waiting()

    def _receive(self, fd: int) -> None:
        try:
            data = self._sockets[fd].recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(fd)
            return
        if fd in self._held:
            data = self._held.pop(fd) + data
        try:
            answer = self._parse(data)
        except BadAnswer:
            self._lose(fd)
            return
        if answer is None:
            self._held[fd] = data
            return
        status, end = answer
        due = self._due.pop(fd, None)
        if due is None or end != len(data):
            self._lose(fd)
            return
        self._count(status, due)
        if b"\r\nconnection: close\r\n" in data:
            self._close(fd)
        else:
            self._free.append(fd)
        self._serve_waiting()

    def _count(self, status: int, due: float) -> None:
        tally, latency = self._tally(due), perf_counter() - due
        if status == self._plan.requests.status:
            tally.good.append(latency)
        elif status in REFUSED:
            tally.refused.append(latency)
        else:
            tally.failed += 1

    def _parse(self, data: bytes) -> tuple[int, int] | None:
        at, head = data.find(self._marker), data.find(END)
        if not 0 < at < head:
            self._marker = spelled_length(data) or self._marker if head > 0 else self._marker
            return scan(data)
        start = at + len(self._marker)
        end = head + 4 + int(data[start : data.find(b"\r", start)])
        return (int(data[9:12]), end) if len(data) >= end else None

    def _serve_waiting(self) -> None:
        if self._waiting:
            self._send(self._waiting.popleft())

    def _open(self) -> int:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex((self._plan.requests.host, self._plan.requests.port))
        fd = sock.fileno()
        self._sockets[fd] = sock
        self._epoll.register(fd, select.EPOLLIN)
        return fd

    def _close(self, fd: int) -> None:
        self._epoll.unregister(fd)
        self._held.pop(fd, None)
        self._unsent.pop(fd, None)
        self._sockets.pop(fd).close()

    def _lose(self, fd: int) -> None:
        due = self._due.pop(fd, None)
        if due is not None:
            self._tally(due).failed += 1
        else:
            self._free.remove(fd)
        self._close(fd)
        self._serve_waiting()

    def _told(self) -> OpenResult:
        phases: list[dict[str, float]] = []
        at = 0.0
        for phase in self._plan.phases:
            whole = Tally()
            for tally in self._bins[round(at / BIN) : round((at + phase.seconds) / BIN)]:
                whole.add(tally)
            at += phase.seconds
            phases.append(whole.told() | asdict(phase))
        late = quantile(sorted(self._lateness), 0.99) * 1000
        return OpenResult(phases, [tally.told() for tally in self._bins[:-1]], late)


def _dues(phases: Sequence[Phase], begin: float) -> Iterator[float]:
    """The moments at which requests are due."""
    for phase in phases:
        for number in range(int(phase.rate * phase.seconds)):
            yield begin + number / phase.rate
        begin += phase.seconds


if __name__ == "__main__":
    given = json.load(sys.stdin)
    plan = OpenPlan(
        Plan(**given["requests"]),
        [Phase(**phase) for phase in given["phases"]],
        given["patience"],
        given["most"],
    )
    sys.stdout.write(json.dumps(asdict(OpenLoad(plan).run())) + "\n")
