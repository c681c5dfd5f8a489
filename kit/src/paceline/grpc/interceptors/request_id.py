"""Request id: every call has one, in its log lines, its answer and its errors' details.

A caller's own ``x-request-id`` is kept when it is short and plain, so that one id follows a request
through several services; anything else is replaced, for it goes into logs. It is sent back with the
status, in the trailing metadata. The outermost interceptor.
"""

import itertools
import re
import secrets
from typing import Final

from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.log import pop_fields, push_fields

_PLAIN: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,64}")


def request_id() -> Interceptor:
    """Give each call an id."""
    prefix = secrets.token_hex(8)
    counter = itertools.count(1)

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        del method

        async def with_request_id(call: Call) -> bytes | None:
            name = call.metadata.get("x-request-id")
            if not isinstance(name, str) or _PLAIN.fullmatch(name) is None:
                name = f"{prefix}-{next(counter):06d}"
            call.request_id = name
            call.trailing.append(("x-request-id", name))
            token = push_fields({"request_id": name})
            try:
                return await endpoint(call)
            finally:
                pop_fields(token)

        return with_request_id

    return wrap
