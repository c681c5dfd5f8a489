"""One call, as interceptors and handlers see it, and what may be done with it.

Invariant: a call ends in one of three ways: `Endpoint` returns (the answer's bytes, or None after
a stream), it raises, or ``recover`` has put a `Refusal` on it. grpcio's context is seen through
`Context` only, so tests need no socket. Metadata is read when somebody asks; a name that comes
twice keeps its last value, except that two tokens are none.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

from grpc import aio

from paceline.errors import Code, Error, Unauthorized

Metadata = list[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Method:
    """A method, as registered. ``streams``: it answers with a stream. ``public``: for anybody."""

    path: str
    streams: bool = False
    scopes: frozenset[str] = frozenset()
    public: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a call fails: a code, a text for the caller, and google.rpc details, encoded."""

    code: Code
    message: str
    details: bytes


class Caller(Protocol):
    """Whoever a token speaks for. ``expires_at``: seconds since the Unix epoch."""

    @property
    def subject(self) -> str:
        """Who it is."""
        ...

    @property
    def scopes(self) -> frozenset[str]:
        """What the caller may do."""
        ...

    @property
    def expires_at(self) -> float:
        """Until when."""
        ...


class Context(Protocol):
    """What is asked of grpcio's ``ServicerContext``."""

    def invocation_metadata(self) -> Any:
        """Pairs of names, in lower case, and values."""
        ...

    def peer(self) -> str:
        """The other side: "ipv4:127.0.0.1:1234"."""
        ...

    def time_remaining(self) -> float | None:
        """Seconds until the client's deadline; None when it has none."""
        ...

    async def write(self, message: bytes, /) -> None:
        """Send a message of a stream; waits while the client does not read."""
        ...


class Call:
    """One call. ``request``: its bytes, or an iterator of them when the client streams.

    ``trailing`` is metadata to send with the status; ``request_id`` is what logs and errors name.
    """

    __slots__ = (
        "_caller", "_context", "_metadata",
        "method", "refusal", "request", "request_id", "trailing",
    )  # fmt: skip

    def __init__(self, method: Method, request: Any, context: Context) -> None:
        self.method: Method = method
        self.request: Any = request
        self.request_id: str = ""
        self.refusal: Refusal | None = None
        self.trailing: Metadata = []
        self._context = context
        self._caller: Caller | None = None
        self._metadata: Mapping[str, str | bytes] | None = None

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """What came with the request; values of names that end in ``-bin`` are bytes."""
        if self._metadata is None:
            pairs = self._context.invocation_metadata() or ()
            found = self._metadata = dict(pairs)
            if len(found) != len(pairs) and sum(name == "authorization" for name, _ in pairs) > 1:
                found["authorization"] = ""
        return self._metadata

    @property
    def caller(self) -> Caller:
        """Who calls. Errors: Unauthorized in a public method, where nobody was asked."""
        if self._caller is None:
            raise Unauthorized("this needs a bearer token")
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
        """The address of the other side, without its port."""
        family, _, rest = self._context.peer().partition(":")
        if family == "ipv6":
            return unquote(rest).rpartition(":")[0].strip("[]")
        return rest.rpartition(":")[0] if family == "ipv4" else family

    def time_remaining(self) -> float | None:
        """Seconds until the client's deadline; None when it has none."""
        return self._context.time_remaining()

    @property
    def outcome(self) -> Code:
        """How it ended, for a call that came back."""
        return Code.OK if self.refusal is None else self.refusal.code

    @property
    def cut_off(self) -> Code:
        """How it ended, for a call that was cancelled: by its own deadline, or by its client."""
        return Code.DEADLINE_EXCEEDED if self.time_remaining() == 0 else Code.CANCELLED

    async def write(self, message: bytes) -> None:
        """Send a message of a stream; waits while the client does not read.

        Errors: Error(CANCELLED) when the client is gone, if that is noticed before the call's
        task is cancelled for it.
        """
        try:
            await self._context.write(message)
        except aio.BaseError as exc:
            raise Error(Code.CANCELLED, "the client is gone") from exc


Endpoint = Callable[[Call], Awaitable[bytes | None]]
Interceptor = Callable[[Endpoint, Method], Endpoint]
