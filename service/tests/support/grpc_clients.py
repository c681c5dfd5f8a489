"""The service on a database with its gRPC server, and metadata with tokens."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from recording_log import RecordingLog

from myservice.config import Config
from myservice.main import Built, build
from myservice.proto.v1 import accounts_pb2_grpc, records_pb2_grpc
from paceline.testing import TEST_SECRET, make_token


def bearer_metadata(
    subject: str, *scopes: str, expiry: float = 3600
) -> tuple[tuple[str, str], ...]:
    """Metadata with a valid token."""
    return (("authorization", f"Bearer {make_token(subject, *scopes, expiry=expiry)}"),)


@dataclass
class GrpcService:
    """A started service, and stubs of its methods."""

    built: Built
    channel: aio.Channel
    log: RecordingLog

    @property
    def records(self) -> "records_pb2_grpc.RecordServiceAsyncStub":
        return records_pb2_grpc.RecordServiceStub(self.channel)

    @property
    def accounts(self) -> "accounts_pb2_grpc.AccountServiceAsyncStub":
        return accounts_pb2_grpc.AccountServiceStub(self.channel)


@asynccontextmanager
async def running_grpc_service(dsn: str, **settings: object) -> AsyncGenerator[GrpcService]:
    config = Config().with_own(database_url=dsn, jwt_secret=TEST_SECRET)
    config = config.replaced(
        **{"max_db_conns": 5, "port": 0, "grpc_port": 0, "admin_port": 0, **settings}
    )
    log = RecordingLog()
    built = build(config, log)
    async with built.lifecycle:
        assert built.rpc_server is not None
        async with aio.insecure_channel(f"127.0.0.1:{built.rpc_server.port}") as channel:
            yield GrpcService(built, channel, log)


def error_details(error: aio.AioRpcError) -> list[Message]:
    """The ``google.rpc`` details of an error, without those of the request."""
    [raw] = [
        value
        for name, value in error.trailing_metadata() or ()
        if name == "grpc-status-details-bin"
    ]
    assert isinstance(raw, bytes)
    found: list[Message] = []
    for packed in Status.FromString(raw).details:
        for kind in (ErrorInfo, BadRequest):
            message = kind()
            if packed.Unpack(message):
                found.append(message)
    return found
