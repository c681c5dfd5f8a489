"""A closed-loop HTTP load: so many connections, each with one request out at a time.

It shares two cores with what it measures, so it is one process on raw sockets and epoll, the
requests are built before the clock starts, and an answer of the usual shape costs two searches and
one comparison. Rejected: asyncio, at three times the cost. Every answer's status and its whole
length are checked, or a fast wrong answer would win; what has another shape goes through `scan`.
``python bench/load.py`` reads a plan as JSON from stdin (see `Plan`) and prints the `Result` as one
JSON line. Used by ``service`` and ``http_layer``.
"""

import gc
import json
import resource
import select
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from time import perf_counter

END = b"\r\n\r\n"
_CHUNK = 64 * 1024
_PATIENCE = 30.0
_POLL = 1.0
_NO_BODY = (204, 304)


class BadAnswer(Exception):
    """What came is no HTTP answer."""


@dataclass(frozen=True)
class Plan:
    """What to send. ``seconds`` of load; ``status`` is the expected one.

    Each request is drawn in turn from ``targets``, ``bodies`` (empty: no body) and ``tokens``
    (bearer tokens; empty: none), whichever is longest. ``spin``: never sleep, for a load that has a
    core of its own: a sleeping client must be woken by the server's write, which on a virtual
    machine costs the server more than the write.
    """

    port: int
    targets: Sequence[str]
    connections: int
    seconds: float
    headers: Sequence[str] = ()
    method: str = "GET"
    bodies: Sequence[str] = ()
    tokens: Sequence[str] = ()
    status: int = 200
    host: str = "127.0.0.1"
    spin: bool = False

    def requests(self) -> list[bytes]:
        """The requests, ready to send."""
        lines = ["Host: bench", "Accept: */*", *self.headers]
        target, body = cycle(self.targets).__next__, cycle(self.bodies or [""]).__next__
        token = cycle(self.tokens or [""]).__next__
        return [
            self._request(lines, target(), body().encode(), token())
            for _ in range(max(len(self.targets), len(self.bodies), len(self.tokens)))
        ]

    def _request(self, lines: Sequence[str], target: str, body: bytes, token: str) -> bytes:
        head = [f"{self.method} {target} HTTP/1.1", *lines]
        if token:
            head.append(f"Authorization: Bearer {token}")
        if self.bodies:
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*head, "", ""]).encode() + body


@dataclass(frozen=True)
class Result:
    """What came of a plan; times in ms where not said otherwise.

    ``requests``: expected answers within the time; ``acknowledged``: those after it, too.
    ``statuses``: unexpected answers; ``broken``: connections that were lost with a request out or
    could not be had; ``unanswered``: requests given up on. ``bytes``: received in all.
    """

    requests: int
    acknowledged: int
    statuses: dict[str, int]
    broken: int
    unanswered: int
    bytes: int
    seconds: float
    p50: float
    p99: float
    max: float
    cpu_seconds: float

    @property
    def errors(self) -> int:
        """Everything but expected answers."""
        return sum(self.statuses.values()) + self.broken + self.unanswered


def quantile(ordered: Sequence[float], q: float) -> float:
    """The value that a share ``q`` of them does not exceed; 0 for none."""
    return ordered[min(int(len(ordered) * q), len(ordered) - 1)] if ordered else 0.0


def scan(data: bytes) -> tuple[int, int] | None:
    """The status of an answer and where it ends, None while it is incomplete.

    Errors: `BadAnswer`, also for one without a length: its end could not be told.
    """
    head_end = data.find(END)
    if head_end < 0:
        return None
    try:
        version, status, *_ = data[:head_end].split(b"\r\n", 1)[0].split(b" ")
        if not version.startswith(b"HTTP/1."):
            raise BadAnswer(version)
        return _scan_body(data, head_end, int(status))
    except ValueError as exc:
        raise BadAnswer(data[:80]) from exc


def _scan_body(data: bytes, head_end: int, status: int) -> tuple[int, int] | None:
    start = head_end + len(END)
    fields = [line.partition(b":") for line in data[:head_end].lower().split(b"\r\n")[1:]]
    headers = {name.strip(): value.strip() for name, _, value in fields}
    if status in _NO_BODY:
        return status, start
    if headers.get(b"transfer-encoding") == b"chunked":
        end = _end_of_chunks(data, start)
        return None if end is None else (status, end)
    if b"content-length" not in headers:
        raise BadAnswer("no length")
    end = start + int(headers[b"content-length"])
    return (status, end) if len(data) >= end else None


def _end_of_chunks(data: bytes, at: int) -> int | None:
    while True:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return None
        size = int(data[at:line_end].partition(b";")[0], 16)
        if size == 0:
            break
        at = line_end + 2 + size + 2
        if len(data) < at:
            return None
        if data[at - 2 : at] != b"\r\n":
            raise BadAnswer("a chunk's end")
    if data.startswith(b"\r\n", line_end + 2):
        return line_end + 4
    end = data.find(END, line_end)  # trailers
    return None if end < 0 else end + len(END)


def spelled_length(data: bytes) -> bytes | None:
    """How this server spells the header's name, with what is before and after it."""
    at = data[: data.find(END)].lower().find(b"\r\ncontent-length: ")
    return data[at : at + 18] if at >= 0 else None


class Load:
    """One run of a plan.

    *Resources*: its sockets, until `run` returns.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._next: Callable[[], bytes] = cycle(plan.requests()).__next__
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._receive: dict[int, Callable[[int], bytes]] = {}
        self._send: dict[int, Callable[[bytes], int]] = {}
        self._sent: dict[int, float] = {}
        self._held: dict[int, bytes] = {}
        self._latencies: list[float] = []
        self._statuses: Counter[str] = Counter()
        self._bad_in_time = self._late = self._broken = self._bytes = 0

    def run(self) -> Result:
        """Load the server. Errors: OSError when not even the first connections can be had."""
        gc.collect()
        gc.freeze()
        gc.disable()
        before = _cpu()
        try:
            fds = [self._open() for _ in range(self._plan.connections)]
            until = perf_counter() + self._plan.seconds
            for fd in fds:
                self._sent[fd] = perf_counter()
                self._send[fd](self._next())
            self._exchange(until)
        finally:
            gc.enable()
            unanswered = len(self._sockets)
            for fd in list(self._sockets):
                self._close(fd)
            self._epoll.close()
        return self._result(unanswered, _cpu() - before)

    def _exchange(self, until: float) -> None:  # noqa: C901 - a call less an answer
        """Take answers and send the next requests, then wait for the last answers."""
        receive, send, sent, held = self._receive, self._send, self._sent, self._held
        poll, clock, following = self._epoll.poll, perf_counter, self._next
        record, sockets = self._latencies.append, self._sockets
        good, marker, skip = b"HTTP/1.1 %d" % self._plan.status, b"\r\ncontent-length: ", 18
        wait, most = (0.0 if self._plan.spin else _POLL), self._plan.connections + 1
        total = 0
        while sockets:
            events = poll(wait, most)
            if not events and clock() > until + _PATIENCE:
                break
            for fd, _ in events:
                try:
                    data = receive[fd](_CHUNK)
                except OSError:
                    data = b""
                now = clock()
                if not data:
                    self._lost(fd, until)
                    continue
                total += len(data)
                if held and fd in held:
                    data = held.pop(fd) + data
                at, head = data.find(marker), data.find(END)
                if not (
                    0 < at < head
                    and data.startswith(good)
                    and int(data[at + skip : data.find(b"\r", at + skip)]) + head + 4 == len(data)
                ):
                    if not self._unusual(fd, data, now, until):
                        continue
                    marker = spelled_length(data) or marker
                record(now - sent[fd])
                if now >= until:
                    self._late += 1
                    self._close(fd)
                    continue
                sent[fd] = now
                try:
                    send[fd](following())
                except OSError:
                    self._lost(fd, until)
        self._bytes = total

    def _unusual(self, fd: int, data: bytes, now: float, until: float) -> bool:
        """Whether the connection's answer is complete, and can be followed by a request."""
        try:
            answer = scan(data)
        except BadAnswer:
            self._lost(fd, until)
            return False
        if answer is None:
            self._held[fd] = data
            return False
        status, end = answer
        if end != len(data):
            self._lost(fd, until)
            return False
        if status != self._plan.status:
            self._statuses[str(status)] += 1
            self._bad_in_time += now < until
        return True

    def _open(self) -> int:
        sock = socket.create_connection((self._plan.host, self._plan.port), timeout=5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        fd = sock.fileno()
        self._sockets[fd], self._receive[fd], self._send[fd] = sock, sock.recv, sock.send
        self._epoll.register(fd, select.EPOLLIN)
        return fd

    def _close(self, fd: int) -> None:
        self._epoll.unregister(fd)
        self._held.pop(fd, None)
        del self._receive[fd], self._send[fd]
        self._sockets.pop(fd).close()

    def _lost(self, fd: int, until: float) -> None:
        """Count a broken connection and open another one while there is time."""
        self._broken += 1
        self._close(fd)
        if perf_counter() >= until:
            return
        try:
            fd = self._open()
            self._sent[fd] = perf_counter()
            self._send[fd](self._next())
        except OSError:
            self._broken += 1

    def _result(self, unanswered: int, cpu: float) -> Result:
        self._latencies.sort()
        answered = len(self._latencies)
        p50, p99, most = (quantile(self._latencies, q) * 1000 for q in (0.5, 0.99, 1.0))
        return Result(
            requests=answered - self._late - self._bad_in_time,
            acknowledged=answered - self._statuses.total(),
            statuses=dict(self._statuses),
            broken=self._broken,
            unanswered=unanswered,
            bytes=self._bytes,
            seconds=self._plan.seconds,
            p50=p50,
            p99=p99,
            max=most,
            cpu_seconds=cpu,
        )


def load(plan: Plan) -> Result:
    """Carry out a plan in this process. Errors: OSError when nobody listens."""
    return Load(plan).run()


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(load(Plan(**json.load(sys.stdin))))) + "\n")
