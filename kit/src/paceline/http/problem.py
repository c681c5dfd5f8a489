"""Errors as HTTP answers: RFC 9457 problems, from one table.

Invariant: an `Error` shows its own message and nothing of its cause; any other exception shows a
fixed text. `STATUS` is the only place where a `Code` becomes an HTTP status, and a test proves it
complete. A service adds statuses for its own error types with ``App(statuses=...)``.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Final

import msgspec

from paceline.errors import Code, Error, Overloaded, StaleVersion, ValidationError
from paceline.http.asgi import REQUEST_ID, Headers, Scope, Send
from paceline.idempotency import KeyReused

STATUS: Final[Mapping[Code, int]] = {
    Code.OK: 200,
    Code.CANCELLED: 499,  # the client closed the connection; the answer is for the log only
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 409,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}

TITLES: Final[Mapping[int, str]] = {
    100: "Continue", 101: "Switching Protocols", 102: "Processing", 103: "Early Hints",
    200: "OK", 201: "Created", 202: "Accepted", 203: "Non-Authoritative Information",
    204: "No Content", 205: "Reset Content", 206: "Partial Content", 207: "Multi-Status",
    208: "Already Reported", 226: "IM Used",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Found", 303: "See Other",
    304: "Not Modified", 305: "Use Proxy", 307: "Temporary Redirect", 308: "Permanent Redirect",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
    407: "Proxy Authentication Required", 408: "Request Timeout", 409: "Conflict", 410: "Gone",
    411: "Length Required", 412: "Precondition Failed", 413: "Request Entity Too Large",
    414: "Request-URI Too Long", 415: "Unsupported Media Type",
    416: "Requested Range Not Satisfiable", 417: "Expectation Failed", 418: "I'm a Teapot",
    421: "Misdirected Request",
    422: "Unprocessable Entity", 423: "Locked", 424: "Failed Dependency", 425: "Too Early",
    426: "Upgrade Required", 428: "Precondition Required", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 451: "Unavailable For Legal Reasons",
    499: "Client Closed Request",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
    506: "Variant Also Negotiates", 507: "Insufficient Storage", 508: "Loop Detected",
    510: "Not Extended", 511: "Network Authentication Required",
}  # fmt: skip
"""The name of each status. Not `http.HTTPStatus.phrase`: Python 3.13 renamed four of them, and the
texts in answers and in the OpenAPI document must not change with the interpreter."""

Statuses = Mapping[type[Error], int]
_MOST_ERRORS: Final = 20
_LONGEST_NAME: Final = 120
_LONGEST_DETAIL: Final = 500
_UNKNOWN_ERROR: Final = "internal error"
_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wrong with one value: a JSON ``pointer`` into the body, or the ``parameter``."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, rename={"kind": "type"}):
    """The body of every error answer (RFC 9457, media type application/problem+json).

    ``code``: the canonical code's name. ``request_id``: what finds the request in the logs.
    """

    title: str
    status: int
    detail: str
    code: str
    kind: str = "about:blank"
    errors: tuple[FieldError, ...] = ()
    request_id: str | None = None


class HttpError(Error):
    """An error that only HTTP has: its status is given, not looked up."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: Code = Code.INVALID_ARGUMENT,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(code, message)
        self.status = status
        self.headers = headers


class InvalidRequest(HttpError):
    """The request is well-formed and has invalid values: 422, field by field.

    The first twenty of ``errors`` are told, with names shortened: a request of many wrong fields
    has no answer that is larger than itself.
    """

    kind = "validation"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__(HTTPStatus.UNPROCESSABLE_ENTITY, "the request has invalid values")
        told = tuple(_shortened(error) for error in errors[:_MOST_ERRORS])
        left = len(errors) - len(told)
        more = (FieldError(f"{left} more values are invalid"),) if left else ()
        self.errors: tuple[FieldError, ...] = told + more


class ClientDisconnected(Error):
    """The client disconnected before its request was whole; no answer is sent."""

    def __init__(self) -> None:
        super().__init__(Code.CANCELLED, "the client closed the request")


def status_of(kind: type[Error], code: Code, statuses: Statuses) -> int:
    """The HTTP status of an error type: the service's table, the kit's own types, `STATUS`."""
    for cls in kind.__mro__:
        if cls in statuses:
            return statuses[cls]
    if issubclass(kind, ValidationError):
        return HTTPStatus.UNPROCESSABLE_ENTITY
    if issubclass(kind, Overloaded):
        return HTTPStatus.SERVICE_UNAVAILABLE  # the server is too slow, not the caller too fast
    if issubclass(kind, KeyReused):
        return HTTPStatus.UNPROCESSABLE_ENTITY
    if issubclass(kind, StaleVersion):
        return HTTPStatus.PRECONDITION_FAILED  # the version that `If-Match` names is not the last
    return STATUS[code]


def is_server_error(exc: Error, statuses: Statuses) -> bool:
    """Whether the failure is the server's, to be logged; an overload is logged once as a whole."""
    return (
        not isinstance(exc, Overloaded)
        and _status(exc, statuses) >= HTTPStatus.INTERNAL_SERVER_ERROR
    )


def _status(exc: Error, statuses: Statuses) -> int:
    return exc.status if isinstance(exc, HttpError) else status_of(type(exc), exc.code, statuses)


def problem_of(
    exc: BaseException,
    statuses: Statuses,
    *,
    request_id: str | None = None,
    with_body: bool = True,
) -> Problem:
    """The problem for ``exc``.

    ``with_body``: whether the request has a body, so that a field is in it and not a parameter.
    """
    if not isinstance(exc, Error):
        return Problem(
            title=TITLES[500],
            status=500,
            detail=_UNKNOWN_ERROR,
            code=Code.INTERNAL.name,
            request_id=request_id,
        )
    status = _status(exc, statuses)
    return Problem(
        title=title_of(status),
        status=status,
        detail=_short(exc.message, _LONGEST_DETAIL),
        code=exc.code.name,
        kind=f"urn:problem:{exc.kind}" if exc.kind else "about:blank",
        errors=_field_errors(exc, with_body=with_body),
        request_id=request_id,
    )


def title_of(status: int) -> str:
    """The status's name; of an unknown one its class's (RFC 9110, section 15: as x00)."""
    return TITLES.get(status) or TITLES[status // 100 * 100]


def _field_errors(exc: Error, *, with_body: bool) -> tuple[FieldError, ...]:
    if isinstance(exc, InvalidRequest):
        return exc.errors
    if not isinstance(exc, ValidationError) or not exc.field:
        return ()
    if with_body:
        found = FieldError(exc.message, pointer="#/" + exc.field.replace(".", "/"))
    else:
        found = FieldError(exc.message, parameter=f"query {exc.field}")
    return (_shortened(found),)


def _shortened(error: FieldError) -> FieldError:
    pointer, parameter = (
        None if name is None else _short(name, _LONGEST_NAME)
        for name in (error.pointer, error.parameter)
    )
    return FieldError(_short(error.detail, _LONGEST_DETAIL), pointer, parameter)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest] + "…"


async def send_problem(scope: Scope, send: Send, exc: BaseException, statuses: Statuses) -> None:
    """Answer with the problem of ``exc``; the response must not have begun."""
    if isinstance(exc, ClientDisconnected):
        return
    request_id: str | None = scope.get(REQUEST_ID)
    with_body = scope["method"] in _METHODS_WITH_BODY
    problem = problem_of(exc, statuses, request_id=request_id, with_body=with_body)
    body = msgspec.json.encode(problem)
    headers: Headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if isinstance(exc, HttpError):
        headers.extend(exc.headers)
    elif isinstance(exc, Overloaded):
        headers.append((b"retry-after", b"%d" % max(1, ceil(exc.retry_after))))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
