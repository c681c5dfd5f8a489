"""Shed: refuses with RESOURCE_EXHAUSTED what there is no room for, before anything is spent on it.

The outermost, so a refused call costs no id, no log line and no token; the door counts it. The
refusal is prepared, with ``RetryInfo``. Invariant: a unary call that was let in is counted out
however it ends; a stream only asks whether there is room, for it may last for ever and
``rpc.streams`` bounds them. The same decision as over HTTP: give both doors one Shedder.
"""

from collections.abc import Callable

from paceline.errors import Overloaded
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.grpc.status import refusal_of
from paceline.resilience import Admission, Priority

Classify = Callable[[Method], Priority]
"""The priority of a method."""


def shed(door: Admission, classify: Classify, *, domain: str = "") -> Interceptor:
    """Let in only what there is room for. ``domain``: the service, in its errors' details."""
    refusal = refusal_of(Overloaded(), domain=domain)

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        priority = classify(method)

        async def counted(call: Call) -> bytes | None:
            ticket = door.admit(priority)
            if ticket is None:
                call.refusal = refusal
                return None
            if method.streams:
                ticket.release_early()
            try:
                return await endpoint(call)
            finally:
                ticket.release()

        return counted

    return wrap
