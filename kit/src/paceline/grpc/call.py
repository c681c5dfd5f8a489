"""One call, as interceptors and handlers see it.

Invariant: a call ends in one of three ways: its `Endpoint` returns (the answer's bytes, or None
after a stream), it raises, or ``recover`` has set its ``error``. grpcio's context is used through
`Context` only, so tests need no socket. Metadata is parsed on first use; a name that comes twice
keeps its last value, except that two tokens are none.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

from grpc import aio

from paceline.edge import Caller, MissingToken
from paceline.errors import Code, Error

Metadata = list[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Method:
    """A method, as registered. ``streams``: it answers with a stream. ``public``: without a token.

    ``path``: "/package.Service/Method". ``scopes``: those that its caller needs.
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
    """The part of grpcio's ``ServicerContext`` that a call uses."""

    def invocation_metadata(self) -> Any:
        """Pairs of names, in lower case, and values."""
        ...

    def peer(self) -> str:
        """The client's address: "ipv4:127.0.0.1:1234"."""
        ...

    def time_remaining(self) -> float | None:
        """Seconds until the client's deadline; None when it has none."""
        ...

    async def write(self, message: bytes, /) -> None:
        """Send a message of a stream; waits while the client does not read."""
        ...


class Call:
    """One call. ``request``: its bytes, or an iterator of them when the client streams.

    ``trailing``: metadata to send with the status. ``error``: how the call failed, if ``recover``
    has dealt with it. ``failures``: where it is a list, what the server failed with goes there and
    not into the log.
    """

    __slots__ = (
        "_caller", "_context", "_metadata",
        "error", "failures", "method", "request", "request_id", "trailing",
    )  # fmt: skip

    def __init__(self, method: Method, request: Any, context: Context) -> None:
        self.method: Method = method
        self.request: Any = request
        self.request_id: str = ""
        self.error: ErrorStatus | None = None
        self.failures: list[Exception] | None = None
        self.trailing: Metadata = []
        self._context = context
        self._caller: Caller | None = None
        self._metadata: Mapping[str, str | bytes] | None = None

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """The request's metadata; values of names that end in ``-bin`` are bytes."""
        if self._metadata is None:
            pairs = self._context.invocation_metadata() or ()
            found = self._metadata = dict(pairs)
            if len(found) != len(pairs) and sum(name == "authorization" for name, _ in pairs) > 1:
                found["authorization"] = ""
        return self._metadata

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
        """The client's address, without its port."""
        family, _, rest = self._context.peer().partition(":")
        if family == "ipv6":
            return unquote(rest).rpartition(":")[0].strip("[]")
        return rest.rpartition(":")[0] if family == "ipv4" else family

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

    async def write(self, message: bytes) -> None:
        """Send a message of a stream; waits while the client does not read.

        Errors: Error(CANCELLED) when the client has disconnected, if that is noticed before the
        call's task is cancelled for it.
        """
        try:
            await self._context.write(message)
        except aio.BaseError as exc:
            raise Error(Code.CANCELLED, "the client disconnected") from exc


Endpoint = Callable[[Call], Awaitable[bytes | None]]
Interceptor = Callable[[Endpoint, Method], Endpoint]
