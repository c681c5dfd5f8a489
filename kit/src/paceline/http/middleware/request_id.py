"""RequestID: every request has an id, in its log lines, its answer and its problems.

A caller's own ``X-Request-Id`` is kept when it is short and plain, so that one id follows a
request through several services; anything else is replaced, for it goes into logs and headers.
Ours are a random prefix a process and a counter: unique, and cheaper than a UUID. First in the
stack; the access log and ``problem`` use what it sets.
"""

import itertools
import re
import secrets
from typing import Final

from paceline.http.asgi import ASGIApp, Middleware, Receive, Scope, Send, headers_of
from paceline.http.tracking import track
from paceline.log import pop_fields, push_fields

REQUEST_ID: Final = "paceline.request_id"
_PLAIN: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,64}")


def request_id() -> Middleware:
    """Give each request an id and put it on the response as ``x-request-id``."""
    prefix = secrets.token_hex(8)
    counter = itertools.count(1)

    def wrap(app: ASGIApp) -> ASGIApp:
        async def with_request_id(scope: Scope, receive: Receive, send: Send) -> None:
            given = headers_of(scope).get(b"x-request-id")
            if given is not None and _PLAIN.fullmatch(given):
                name = given.decode("ascii")
            else:
                name = f"{prefix}-{next(counter):06d}"
            scope[REQUEST_ID] = name
            tracked, send = track(scope, send)
            tracked.headers.append((b"x-request-id", name.encode("ascii")))
            token = push_fields({"request_id": name})
            try:
                await app(scope, receive, send)
            finally:
                pop_fields(token)

        return with_request_id

    return wrap
