"""Request ids: in the request's log lines, its response and its problems.

A caller's ``X-Request-Id`` is kept when it is short and plain; see ``paceline.edge``. Outside
everything that logs.
"""

from paceline.edge import is_plain_id, new_ids
from paceline.http.asgi import (
    REQUEST_ID,
    ASGIApp,
    Middleware,
    Receive,
    Scope,
    Send,
    headers_of,
)
from paceline.http.response_tracker import track_response
from paceline.log import pop_fields, push_fields


def request_id() -> Middleware:
    """Give each request an id and put it on the response as ``x-request-id``."""
    ids = new_ids()

    def wrap(app: ASGIApp) -> ASGIApp:
        async def with_request_id(scope: Scope, receive: Receive, send: Send) -> None:
            received = headers_of(scope).get(b"x-request-id")
            if received is not None and is_plain_id(kept := received.decode("latin-1")):
                name = kept
            else:
                name = next(ids)
            scope[REQUEST_ID] = name
            response, send = track_response(scope, send)
            response.headers.append((b"x-request-id", name.encode("ascii")))
            fields = push_fields({"request_id": name})
            try:
                await app(scope, receive, send)
            finally:
                pop_fields(fields)

        return with_request_id

    return wrap
