"""Load shedding: a call beyond what can be served in time is RESOURCE_EXHAUSTED, at no cost.

The outermost interceptor, so that a refused call costs no id, no log line and no token; its
`Admission` counts it. The refusal is prepared, with ``RetryInfo``. Invariant: an admitted unary
call gives its permit back however it ends. A stream gives it back when it begins, because it may
last for ever; their number is bounded by ``RpcApp(max_streams=...)``. HTTP and gRPC share one load
shedder, so that both decide alike. `PreAdmission` decides the same when a call's headers arrive,
before there is a task for it.
"""

from collections.abc import Callable, Collection
from functools import partial

from paceline.edge import priorities_of
from paceline.errors import Overloaded
from paceline.grpc.call import Call, Endpoint, ErrorStatus, Interceptor, Method
from paceline.grpc.status import error_status_of
from paceline.resilience import Admission, Priority

Classify = Callable[[Method], Priority]
"""The priority of a method."""


def classify_by_scope(
    *,
    write_suffix: str = ":write",
    health: Collection[str] = (),
    background: Collection[str] = (),
) -> Classify:
    """Streams before reads before writes are refused; a write needs a ``…:write`` scope.

    Paths in ``background`` are refused first, those in ``health`` never.
    """
    named = priorities_of(health, background)

    def classify(method: Method) -> Priority:
        if method.path in named:
            return named[method.path]
        if any(scope.endswith(write_suffix) for scope in method.scopes):
            return Priority.WRITE
        return Priority.BACKGROUND if method.streams else Priority.READ

    return classify


def shed(admission: Admission, classify: Classify, *, domain: str = "") -> Interceptor:
    """Refuse each call that ``admission`` has no room for.

    ``domain``: the service's name, in the errors' details.
    """
    overloaded = error_status_of(Overloaded(), domain=domain)

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        priority = classify(method)

        async def admitted(call: Call) -> bytes | None:
            permit = admission.admit(priority)
            if permit is None:
                call.error = overloaded
                return None
            if method.streams:
                permit.release_early()
            try:
                return await endpoint(call)
            finally:
                permit.release()

        return admitted

    return wrap


class PreAdmission:
    """The same decision for `RpcApp`, as its ``admission_check``."""

    def __init__(self, admission: Admission, classify: Classify, *, domain: str = "") -> None:
        self.status: ErrorStatus = error_status_of(Overloaded(), domain=domain)
        self._admission = admission
        self._classify = classify

    def for_method(self, method: Method) -> Callable[[], bool]:
        """Whether there is no room for a call of ``method``, which then counts as refused."""
        return partial(self._admission.refuse, self._classify(method))
