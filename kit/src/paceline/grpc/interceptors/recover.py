"""Recovery: no exception leaves a method, and each failure of the server is logged once, here.

An `Error` becomes its status. Anything else becomes INTERNAL with a fixed text, and its whole chain
and traceback go to the log under the call's id. A stream that the server ended, or whose client
disconnected, is no failure. Inside `access_log`, outside everything that may refuse a call.
"""

from typing import Final

from paceline.edge import failure_log
from paceline.errors import Code, Error
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.grpc.status import error_status_of
from paceline.grpc.streams import ShuttingDown
from paceline.log import Logger

_SERVER_FAILURES: Final = frozenset(
    {Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS}
)


def recover(log: Logger, *, domain: str = "") -> Interceptor:
    """Answer what a call raises. ``domain``: the service's name, in the errors' details."""

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        del method

        async def recovering(call: Call) -> bytes | None:
            try:
                return await endpoint(call)
            except Exception as exc:  # noqa: BLE001 - every failure of a call becomes a status
                if _is_server_failure(exc):
                    if call.failures is not None:
                        call.failures.append(exc)  # the access log shows it with the call
                    else:
                        failure_log(log, exc)("call failed", error=exc, method=call.method.path)
                call.error = error_status_of(exc, domain=domain, request_id=call.request_id)
                return None

        return recovering

    return wrap


def _is_server_failure(exc: Exception) -> bool:
    if not isinstance(exc, Error):
        return True
    return exc.code in _SERVER_FAILURES and not isinstance(exc, ShuttingDown)
