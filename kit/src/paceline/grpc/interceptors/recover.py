"""Recovery: no exception leaves a method, and each that is ours to mend is logged once, here.

An `Error` becomes its status, anything else INTERNAL with a fixed text, while its whole chain and
traceback go to the log under the call's id. A stream that the server ended, or that its client
left, is no failure. Inside `access_log`, outside everything that may refuse.
"""

from typing import Final

from paceline.concurrency import DeadlineExceeded
from paceline.errors import Code, Error
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.grpc.status import refusal_of
from paceline.grpc.streams import Ended
from paceline.log import Logger

_OURS: Final = frozenset(
    {Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS}
)


def recover(log: Logger, *, domain: str = "") -> Interceptor:
    """Turn whatever a call raises into a status. ``domain``: the service, in its details."""

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        del method

        async def recovering(call: Call) -> bytes | None:
            try:
                return await endpoint(call)
            except Exception as exc:  # noqa: BLE001 - this is where every failure ends
                if not isinstance(exc, Error) or (exc.code in _OURS and not isinstance(exc, Ended)):
                    # Anybody can ask for a millisecond.
                    client_imposed = isinstance(exc, DeadlineExceeded) and exc.client_imposed
                    tell = log.warning if client_imposed else log.error
                    tell("call failed", error=exc, method=call.method.path)
                call.refusal = refusal_of(exc, domain=domain, request_id=call.request_id)
                return None

        return recovering

    return wrap
