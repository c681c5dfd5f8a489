"""What clients may use of an HTTP server, as one settings object.

The time-outs are those of Go's net/http. Every limit has a default that suits a service behind a
proxy; a limit that a client exceeds ends its request or its connection, never the server.
"""

from dataclasses import dataclass
from typing import Final

from paceline._ranges import check_ranges

_MIN_WINDOW: Final = 65_535  # which a client may use before it knows better (RFC 9113 §6.9.2)
_MAX_WINDOW: Final = 2**31 - 1
_POSITIVE: Final = (
    "read_timeout", "write_timeout", "idle_timeout", "max_header_bytes", "max_headers",
    "max_target_bytes", "max_connections", "backlog", "handshake_timeout", "max_streams",
    "keepalive", "keepalive_timeout", "max_connection_age",
)  # fmt: skip
_NOT_NEGATIVE: Final = (
    "max_pipelined", "max_uploads", "max_upload_bytes", "keep_alive_grace", "linger",
    "max_connection_age_grace", "min_ping_interval", "unchecked_connections",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Limits of an `HttpServer`. Times in seconds, sizes in bytes.

    ``read_timeout``: from the first byte of a request to the end of its body (408).
    ``write_timeout``: from the end of its headers to the end of the response, or, for a stream, how
    long its client may take nothing of what there is (the connection is cut). ``idle_timeout``:
    between requests, and while a stream's client is to send more. ``max_header_bytes`` and
    ``max_headers``: of all headers together, and their number (431). ``max_target_bytes``: of a
    request target (414). ``max_pipelined``: requests that wait behind the one being answered (503).
    ``max_connections``: one more gets a 503 and is closed. ``unchecked_connections``: a second;
    of more, those are refused (503) and closed before they are set up whose first request has no
    room. ``max_uploads`` and
    ``max_upload_bytes``: requests that wait for the rest of their body, and what has arrived of
    these bodies (503). ``backlog``: connections that wait in the kernel. ``keep_alive_grace``: how
    long idle connections stay open at a stop, so that a request on its way is answered.
    ``linger``: how long to read on after an answer that cut a request short, so that the answer is
    not lost; over TLS also how long a client may take to answer the end of the connection.
    ``handshake_timeout``: for a TLS handshake (closed).

    HTTP/2: ``max_streams``: requests at once on a connection (more are refused). ``stream_window``
    and ``connection_window``: bytes of bodies that a client may send ahead of the app, at least
    65,535. ``max_connection_age``: after it, or up to a tenth earlier, a client is asked to open a
    new connection, and ``max_connection_age_grace`` later, what is still going on here is cut off.
    ``keepalive``: after such a silence the client gets a PING, and ``keepalive_timeout``: its time
    to answer that, and our SETTINGS. ``min_ping_interval``: a client that pings more often, with
    nothing in between, is disconnected.
    """

    read_timeout: float = 15.0
    write_timeout: float = 30.0
    idle_timeout: float = 60.0
    max_header_bytes: int = 32 * 1024
    max_headers: int = 100
    max_target_bytes: int = 8 * 1024
    max_pipelined: int = 64
    max_connections: int = 10_000
    unchecked_connections: int = 500
    max_uploads: int = 1_024
    max_upload_bytes: int = 64 * 1024 * 1024
    backlog: int = 2048
    keep_alive_grace: float = 0.0
    linger: float = 2.0
    handshake_timeout: float = 10.0
    max_streams: int = 256
    stream_window: int = 256 * 1024
    connection_window: int = 1024 * 1024
    max_connection_age: float | None = None
    max_connection_age_grace: float = 3600.0
    keepalive: float = 60.0
    keepalive_timeout: float = 20.0
    min_ping_interval: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot work. Errors: ValueError."""
        for name in ("stream_window", "connection_window"):
            if not _MIN_WINDOW <= getattr(self, name) <= _MAX_WINDOW:
                raise ValueError(f"{name} must be from {_MIN_WINDOW} to {_MAX_WINDOW}")
        check_ranges(self, positive=_POSITIVE, not_negative=_NOT_NEGATIVE)
