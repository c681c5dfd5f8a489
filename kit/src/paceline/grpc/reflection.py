"""Server reflection: tools such as grpcurl read the protos from the server.

Without a token and for development: it shows the whole API, so a service turns it on by a setting.
The answers are grpcio-reflection's; they pass the same interceptors as every method. Version
v1alpha, which every tool still supports.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final, cast

from grpc_reflection.v1alpha import reflection_pb2 as pb
from grpc_reflection.v1alpha.reflection import aio

from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call
from paceline.grpc.methods import exchange

SERVICE: Final = "grpc.reflection.v1alpha.ServerReflection"
_Answer = Callable[
    [AsyncIterator[pb.ServerReflectionRequest], Call], AsyncIterator[pb.ServerReflectionResponse]
]


def add_reflection(app: RpcApp) -> None:
    """Add the service; call it last: it shows the services that ``app`` has."""
    # An async generator, whatever its stubs say.
    answers_of = cast(
        "_Answer", aio.ReflectionServicer([*app.services, SERVICE]).ServerReflectionInfo
    )

    async def info(
        requests: AsyncIterator[pb.ServerReflectionRequest], call: Call
    ) -> AsyncGenerator[pb.ServerReflectionResponse, None]:
        async for answer in answers_of(requests, call):
            yield answer

    app.add(SERVICE, {"ServerReflectionInfo": exchange(info, public=True)})
