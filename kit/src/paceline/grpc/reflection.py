"""Server reflection: tools such as grpcurl ask the server for its protos.

Open to everybody and for development: it tells the whole API, so a setting turns it on. What is
told comes from grpcio-reflection; it goes through the same interceptors as every method. Version
v1alpha, which every tool still speaks. Add it last: it tells the services there are.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final, cast

from grpc_reflection.v1alpha import reflection_pb2 as pb
from grpc_reflection.v1alpha.reflection import aio

from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call
from paceline.grpc.methods import exchange

SERVICE: Final = "grpc.reflection.v1alpha.ServerReflection"
_Ask = Callable[
    [AsyncIterator[pb.ServerReflectionRequest], Call], AsyncIterator[pb.ServerReflectionResponse]
]


def add_reflection(app: RpcApp) -> None:
    """Add the service."""
    # An async generator, whatever its stubs say.
    ask = cast("_Ask", aio.ReflectionServicer([*app.services, SERVICE]).ServerReflectionInfo)

    async def info(
        requests: AsyncIterator[pb.ServerReflectionRequest], call: Call
    ) -> AsyncGenerator[pb.ServerReflectionResponse, None]:
        async for answer in ask(requests, call):
            yield answer

    app.add(SERVICE, {"ServerReflectionInfo": exchange(info, public=True)})
