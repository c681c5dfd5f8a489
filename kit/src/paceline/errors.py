"""Errors with a canonical code, a message for the caller, and a cause for the log.

Invariant: ``Error.message`` is written for the caller and never holds the text of another
exception; that one is the ``__cause__``, which only the log shows. Each edge (HTTP, gRPC, messages,
command line) has one table from `Code` to its own kind of answer.

`wrap` is Go's ``fmt.Errorf("...: %w", err)``: it adds context on the way out and keeps the type
that ``except`` matches. It uses the notes of PEP 678, so plain tracebacks show the context as well.
"""

from collections.abc import Iterator
from enum import IntEnum
from types import TracebackType
from typing import ClassVar, Self


class Code(IntEnum):
    """The canonical status codes, with their numbers, as in ``google.rpc.Code``."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Error(Exception):
    """A failure with a `Code` and a message that is safe to show to the caller.

        raise Error(Code.UNAVAILABLE, "the queue is down") from exc

    ``kind`` names the failure within its code, in kebab-case, for problem types and metrics. A
    subclass sets its own ("insufficient-balance"); without one it is the code's name.
    """

    kind: ClassVar[str] = ""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class NotFound(Error):
    """What was requested does not exist."""

    def __init__(self, message: str = "not found") -> None:
        super().__init__(Code.NOT_FOUND, message)


class AlreadyExists(Error):
    """What was to be created exists already."""

    def __init__(self, message: str = "already exists") -> None:
        super().__init__(Code.ALREADY_EXISTS, message)


class StaleVersion(Error):
    """What was to be changed has changed since the caller read it; it has to be read again."""

    kind = "stale-version"

    def __init__(self, message: str = "has changed since it was read") -> None:
        super().__init__(Code.ABORTED, message)


class Unauthorized(Error):
    """The caller is not authenticated."""

    def __init__(self, message: str = "unauthorized") -> None:
        super().__init__(Code.UNAUTHENTICATED, message)


class PermissionDenied(Error):
    """The caller is authenticated, but not allowed to do this."""

    def __init__(self, message: str = "permission denied") -> None:
        super().__init__(Code.PERMISSION_DENIED, message)


class ValidationError(Error):
    """A value breaks a rule of the domain.

    ``field`` names the value, dots between levels ("metadata.colour"); empty for the whole input.
    """

    kind = "validation"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, message)
        self.field = field

    def __str__(self) -> str:
        return f"validation error on {self.field}: {self.message}"


class Overloaded(Error):
    """Refused for lack of capacity; nothing was done. ``retry_after``: seconds to wait."""

    kind = "overloaded"

    def __init__(
        self, message: str = "too much to do, try again later", *, retry_after: float = 1.0
    ) -> None:
        super().__init__(Code.RESOURCE_EXHAUSTED, message)
        self.retry_after = retry_after


class wrap:  # noqa: N801 - reads as a statement: with wrap("service.get_record({})", id):
    """Add context to an exception that leaves the block; its type stays.

        with wrap("service.get_record({})", record_id):
            return await repository.get(record_id)

    The text is formatted only when the block fails. Cancellation passes unchanged.
    """

    __slots__ = ("_args", "_template")

    def __init__(self, template: str, *args: object) -> None:
        self._template = template
        self._args = args

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, Exception):
            exc.add_note(self._template.format(*self._args))


def copy_exception(exc: Exception) -> Exception:
    """A copy of ``exc``, to raise one failure in several tasks.

    Raising one object in several tasks would mix their tracebacks and the context that each adds
    with `wrap`. The constructor is not called, since its parameters may differ from ``args``.
    """
    other = type(exc).__new__(type(exc), *exc.args)
    other.args = exc.args
    other.__dict__.update(exc.__dict__)
    if notes := getattr(exc, "__notes__", None):
        other.__notes__ = [*notes]
    other.__cause__ = exc.__cause__
    other.__context__ = exc.__context__
    other.__suppress_context__ = exc.__suppress_context__
    return other.with_traceback(exc.__traceback__)


def chain(exc: BaseException) -> str:
    """The exception, its context and its causes on one line, as Go prints a wrapped error.

    "service.get_record(42): query record 42: record not found". For logs only: the texts of causes
    may say more than a caller should see.
    """
    return ": ".join(_links(exc))


def _links(exc: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    link: BaseException | None = exc
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield from reversed(getattr(link, "__notes__", ()))
        yield str(link) or type(link).__name__
        link = link.__cause__
