"""A method as it is served, and the calls that are being answered."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from paceline.grpc.call import Endpoint, Method
from paceline.grpc.limits import RpcLimits
from paceline.grpc.methods import Kind


@dataclass(frozen=True, slots=True)
class Route:
    """A method and its endpoint under all interceptors.

    ``descriptor``: None for a path that no service has. ``refuses``: whether there is no room for a
    call, which counts it as refused. ``timed``: the protocol has to end the call at its client's
    deadline, for no interceptor does. ``compress``: answers are compressed where that is accepted.
    """

    method: Method
    kind: Kind
    endpoint: Endpoint
    descriptor: MethodDescriptor | None = None
    refuses: Callable[[], bool] | None = None
    timed: bool = True
    compress: bool = False


class ActiveCalls:
    """The number of calls that are being answered, and their limits.

    A call counts from the moment when its request is whole, or a stream's from its headers, so
    requests that do not arrive take nobody's place.
    """

    __slots__ = ("_arriving", "_idle", "_of_connections", "count", "limits")

    def __init__(self) -> None:
        self.limits: RpcLimits = RpcLimits()
        self.count: int = 0
        self._idle = asyncio.Event()
        self._arriving = 0
        self._of_connections: dict[object, int] = {}

    def end(self) -> None:
        """Wake those who wait for the last one."""
        self._idle.set()

    async def until_idle(self) -> None:
        """Wait until there is none."""
        while self.count:
            self._idle.clear()
            await self._idle.wait()

    def hold(self, connection: object, size: int) -> bool:
        """Count bytes of a message that is not whole yet; False: there is no room for them.

        ``connection``: `RequestStream.connection`; clients of a Unix socket have no address.
        """
        limits = self.limits
        of_connection = self._of_connections.get(connection, 0) + size
        if (
            self._arriving + size > limits.max_arriving
            or of_connection > limits.max_connection_arriving
        ):
            return False
        self._arriving += size
        self._of_connections[connection] = of_connection
        return True

    def let_go(self, connection: object, size: int) -> None:
        """The bytes that `hold` has counted are a message now, or have been dropped."""
        self._arriving -= size
        left = self._of_connections[connection] - size
        if left:
            self._of_connections[connection] = left
        else:
            del self._of_connections[connection]
