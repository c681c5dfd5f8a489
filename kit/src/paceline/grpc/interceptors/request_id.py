"""Request ids: in the call's log lines, its trailing metadata and its errors' details.

A caller's ``x-request-id`` is kept when it is short and plain; see ``paceline.edge``. Outside
everything that logs.
"""

from paceline.edge import is_plain_id, new_ids
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.log import pop_fields, push_fields


def request_id() -> Interceptor:
    """Give each call an id and send it back as ``x-request-id``."""
    ids = new_ids()

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        del method

        async def with_request_id(call: Call) -> bytes | None:
            received = call.header(b"x-request-id")
            name = None if received is None else received.decode("latin-1")
            if name is None or not is_plain_id(name):
                name = next(ids)
            call.request_id = name
            call.trailing.append(("x-request-id", name))
            fields = push_fields({"request_id": name})
            try:
                return await endpoint(call)
            finally:
                pop_fields(fields)

        return with_request_id

    return wrap
