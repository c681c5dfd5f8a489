"""What clients may use of a gRPC server, as one settings object."""

from dataclasses import dataclass
from typing import Final

from paceline._ranges import check_ranges

_POSITIVE: Final = (
    "max_connections", "max_connection_streams", "keepalive", "keepalive_timeout",
    "max_connection_age", "read_timeout",
)  # fmt: skip
_NOT_NEGATIVE: Final = (
    "max_message", "max_calls", "max_arriving", "max_connection_arriving", "min_ping_interval",
    "max_connection_age_grace",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcLimits:
    """What clients may use of an `RpcServer`. Times in seconds, sizes in bytes.

    ``max_message``: of a request, also after decompression; RESOURCE_EXHAUSTED beyond.
    ``max_calls``: at once in all; RESOURCE_EXHAUSTED beyond. A request that has not arrived wholly
    is none yet. ``max_arriving`` and ``max_connection_arriving``: bytes of messages that have not
    arrived wholly, in all and of a connection; RESOURCE_EXHAUSTED for the call that goes beyond.
    ``max_connections``: one more is closed. ``max_connection_streams``: at once on a
    connection; its client keeps the others waiting. ``keepalive``: a connection that is silent for
    so long is pinged, and closed ``keepalive_timeout`` later if it does not answer.
    ``min_ping_interval``: between two pings of a client. ``max_connection_age``: a connection is
    closed after about so long, when its calls are done, and the client opens another, which may be
    to another process; None for never. ``max_connection_age_grace``: for these calls, which then
    end. ``read_timeout``: from a call's headers to the end of its message, if it has one only;
    DEADLINE_EXCEEDED beyond, and over gRPC a fifth later the stream is reset.

    Errors: ValueError for what cannot work.
    """

    max_message: int = 1024 * 1024
    max_calls: int = 10_000
    max_arriving: int = 256 * 1024 * 1024
    max_connection_arriving: int = 16 * 1024 * 1024
    max_connections: int = 10_000
    max_connection_streams: int = 1_000
    keepalive: float = 60.0
    keepalive_timeout: float = 20.0
    min_ping_interval: float = 10.0
    max_connection_age: float | None = None
    max_connection_age_grace: float = 3600.0
    read_timeout: float = 15.0

    def __post_init__(self) -> None:
        """Refuse what cannot work. Errors: ValueError."""
        check_ranges(self, positive=_POSITIVE, not_negative=_NOT_NEGATIVE)
