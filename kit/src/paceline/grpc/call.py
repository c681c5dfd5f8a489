"""One call, as interceptors and handlers see it.

Invariant: a call ends in one of three ways: its `Endpoint` returns (the answer's bytes, or None
after a stream), it raises, or ``recover`` has set its ``error``. The protocol is used through
`Context` only, so the same methods serve several, and tests need no socket. Metadata is parsed on
first use; a name that comes twice keeps its last value, except that two tokens are none.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from paceline.edge import Caller, MissingToken
from paceline.errors import Code
from paceline.grpc.metadata import Metadata, read_metadata
from paceline.http import Headers

_MAX_EARLY: Final = 0.25  # seconds
_EARLY: Final = 0.25  # of the whole time


@dataclass(frozen=True, slots=True)
class Method:
    """A method, as registered. ``path``: "/package.Service/Method".

    ``streams``: its requests or answers are a stream, so it may last. ``scopes``: those that its
    caller needs. ``public``: it needs no token.
    """

    path: str
    streams: bool = False
    scopes: frozenset[str] = frozenset()
    public: bool = False


@dataclass(frozen=True, slots=True)
class ErrorStatus:
    """How a call failed: a code, a text for the caller, and google.rpc details, encoded."""

    code: Code
    message: str
    details: bytes


class Context(Protocol):
    """What a protocol (gRPC on HTTP/2 and the like) knows of a call, and does for it."""

    @property
    def headers(self) -> Headers:
        """The request's fields, names in lower case, as they came."""
        ...

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """The same by name; made by `fields_of`."""
        ...

    @property
    def client(self) -> str:
        """The client's address, without its port."""
        ...

    @property
    def received_compressed(self) -> bool:
        """Whether the message that was read last came compressed."""
        ...

    @property
    def timeout_field(self) -> str:
        """Where a client of this protocol sets its deadline: "grpc-timeout"."""
        ...

    def time_remaining(self) -> float | None:
        """Seconds until the client's deadline; None when it has none."""
        ...

    async def send_initial(self, call: "Call", /) -> None:
        """Send ``call.initial``, unless that has been sent."""
        ...

    async def write(self, call: "Call", message: bytes, /) -> None:
        """Send a message of a stream; waits while the client does not read.

        Errors: Error(CANCELLED) when the client has disconnected.
        """
        ...


class Call:
    """One call. ``request``: its bytes, or an iterator of them when the client streams.

    ``initial``: metadata to send before the answer. ``trailing``: metadata to send with the status.
    ``error``: how the call failed, if ``recover`` has dealt with it. ``failures``: where it is a
    list, what the server failed with goes there and not into the log. ``compression``: whether the
    next message is to be compressed; None: nobody has asked. ``unlogged``: it is refused, counted
    elsewhere, and has no line of its own in the access log.
    """

    __slots__ = (
        "_caller", "_context", "_metadata",
        "compression", "error", "failures", "initial", "method", "request", "request_id",
        "trailing", "unlogged",
    )  # fmt: skip

    def __init__(self, method: Method, request: Any, context: Context) -> None:
        self.method: Method = method
        self.request: Any = request
        self.request_id: str = ""
        self.error: ErrorStatus | None = None
        self.failures: list[Exception] | None = None
        self.initial: Metadata = []
        self.trailing: Metadata = []
        self.compression: bool | None = None
        self.unlogged: bool = False
        self._context = context
        self._caller: Caller | None = None
        self._metadata: Mapping[str, str | bytes] | None = None

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """The request's metadata; values of names that end in ``-bin`` are bytes.

        A name that came twice has its last value here; `metadata_pairs` has all. Errors:
        Error(INVALID_ARGUMENT) for a ``-bin`` value that is no base64.
        """
        if self._metadata is None:
            self._metadata = found = dict(self.metadata_pairs)
            if self.header(b"authorization") == b"":
                found["authorization"] = ""
        return self._metadata

    @property
    def metadata_pairs(self) -> Metadata:
        """The request's metadata as it came, also names that came twice. Errors: as `metadata`."""
        return read_metadata(self._context.headers)

    def header(self, name: bytes) -> bytes | None:
        """The raw value of a field, without reading all metadata; empty where two tokens came."""
        return self._context.fields.get(name)

    @property
    def caller(self) -> Caller:
        """The verified caller. Errors: MissingToken in a public method, where none is verified."""
        if self._caller is None:
            raise MissingToken
        return self._caller

    @caller.setter
    def caller(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def is_authenticated(self) -> bool:
        """Whether there is a `caller`."""
        return self._caller is not None

    @property
    def client(self) -> str:
        """The client's address, without its port; "unix" without one."""
        return self._context.client

    @property
    def received_compressed(self) -> bool:
        """Whether the message that was read last came compressed."""
        return self._context.received_compressed

    def compress(self, *, on: bool = True) -> None:
        """Compress what is sent from here on, if the client accepts an encoding, or do not.

        In a stream the first call must come before the first message, for the headers name the
        encoding; without it nothing is compressed.
        """
        self.compression = on

    @property
    def timeout_field(self) -> str:
        """Where its client sets a deadline, for errors: "grpc-timeout"."""
        return self._context.timeout_field

    def time_remaining(self) -> float | None:
        """Seconds until the client's deadline; None when it has none."""
        return self._context.time_remaining()

    @property
    def outcome(self) -> Code:
        """The code of a call whose endpoint has returned."""
        return Code.OK if self.error is None else self.error.code

    @property
    def cancelled_code(self) -> Code:
        """The code of a call that was cancelled: by its client's deadline, or by its client."""
        return Code.DEADLINE_EXCEEDED if self.time_remaining() == 0 else Code.CANCELLED

    async def send_initial(self) -> None:
        """Send `initial` now; otherwise it goes with the first message or the status."""
        await self._context.send_initial(self)

    async def write(self, message: bytes) -> None:
        """Send a message of a stream; waits while the client does not read.

        Errors: Error(CANCELLED) when the client has disconnected, if that is noticed before the
        call's task is cancelled for it.
        """
        await self._context.write(self, message)


Endpoint = Callable[[Call], Awaitable[bytes | None]]
Interceptor = Callable[[Endpoint, Method], Endpoint]


def is_own_timeout(left: float, timeout: float) -> bool:
    """Whether a client that leaves ``left`` seconds before its deadline has met the deadline.

    Its clock started a trip before ours. ``timeout``: the whole time that it allowed, in seconds.
    """
    return left <= min(_MAX_EARLY, timeout * _EARLY)
