"""What requests are refused with before the app or in its place, over every version of HTTP.

Each status and text once, so that a client meets the same ones whichever version it speaks.
"""

from http import HTTPStatus

from paceline.http.server.limits import ServerLimits


class RequestRejected(Exception):
    """The request is not served: ``status`` and ``detail`` go into the answer."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def headers_too_large(limits: ServerLimits) -> RequestRejected:
    """Too many headers, or too many bytes of them."""
    return RequestRejected(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"the headers are more than {limits.max_header_bytes} bytes or {limits.max_headers}",
    )


def target_too_long(limits: ServerLimits) -> RequestRejected:
    """A path and query that are longer than the limit."""
    return RequestRejected(
        HTTPStatus.REQUEST_URI_TOO_LONG,
        f"the request target is longer than {limits.max_target_bytes} bytes",
    )


def too_slow() -> RequestRejected:
    """A request whose end does not come in time."""
    return RequestRejected(HTTPStatus.REQUEST_TIMEOUT, "the request took too long to arrive")


def too_many_uploads() -> RequestRejected:
    """There is no room for one more request that waits for the rest of its body."""
    return RequestRejected(
        HTTPStatus.SERVICE_UNAVAILABLE, "too many uploads at once, try again later"
    )


def too_many_connections() -> RequestRejected:
    """There is no room for one more client."""
    return RequestRejected(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections, try again later")


def internal_error() -> RequestRejected:
    """The app has failed without an answer."""
    return RequestRejected(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")
