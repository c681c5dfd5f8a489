"""Errors a service may show: a canonical code, a safe message, the detail kept behind it.

Invariant: ``Error.message`` is written for the caller and never holds another exception's text;
what really happened is the ``__cause__``, which goes to the log only. Each edge (HTTP, command
line) has one table from `Code` to its own kind of answer, so nobody translates twice.

`wrap` gives Go's ``fmt.Errorf("...: %w", err)``: context is added on the way out and the type that
``except`` matches stays. It rests on PEP 678 notes, so plain tracebacks show the context too.
Every other room stands on this one; read ``paceline.http.problem`` next.
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

    ``kind`` names the failure within its code, kebab-case, for problem types and metrics;
    a subclass gives its own ("insufficient-balance"), otherwise it is the code's name.
    """

    kind: ClassVar[str] = ""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class NotFound(Error):
    """The thing asked for does not exist."""

    def __init__(self, message: str = "not found") -> None:
        super().__init__(Code.NOT_FOUND, message)


class AlreadyExists(Error):
    """The thing to be created is there already."""

    def __init__(self, message: str = "already exists") -> None:
        super().__init__(Code.ALREADY_EXISTS, message)


class Unauthorized(Error):
    """The caller did not prove who they are."""

    def __init__(self, message: str = "unauthorized") -> None:
        super().__init__(Code.UNAUTHENTICATED, message)


class PermissionDenied(Error):
    """The caller is known, and may not do this."""

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
    """There is no room for it now; nothing was done. ``retry_after``: seconds until it may help."""

    kind = "overloaded"

    def __init__(
        self, message: str = "too much to do, try again later", *, retry_after: float = 1.0
    ) -> None:
        super().__init__(Code.RESOURCE_EXHAUSTED, message)
        self.retry_after = retry_after


class wrap:  # noqa: N801 - reads as a statement: with wrap("service.get_record({})", id):
    """Add context to whatever leaves the block, keeping its type.

    ``with wrap("service.get_record({})", record_id):`` costs next to nothing while nothing fails:
    the text is formatted only on the way out. Cancellation passes untouched.
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


def copied(exc: Exception) -> Exception:
    """Another exception that says the same, for one failure that several callers are told of.

    Raising one object in several tasks would mix their tracebacks and the context that each one
    adds with `wrap`. The constructor is not called: its arguments may be others than ``args``.
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
    """The whole story on one line, outermost context first, as Go prints a wrapped error.

    "service.get_record(42): query record 42: record not found". For logs only: it holds the text
    of causes, which may say more than a caller should see.
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
