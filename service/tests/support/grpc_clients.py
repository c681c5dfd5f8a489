"""The service on a database with its gRPC server, and metadata with tokens."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import accounts_pb2_grpc  # paceline: only full
import records_pb2_grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from wired_service import config_on, wire_service

from paceline.commands import Process
from paceline.testing import RecordingLog, make_token


def bearer_metadata(
    subject: str, *scopes: str, expiry: float = 3600
) -> tuple[tuple[str, str], ...]:
    """Metadata with a valid token."""
    return (("authorization", f"Bearer {make_token(subject, *scopes, expiry=expiry)}"),)


@dataclass
class GrpcService:
    """A started service, and stubs of its methods."""

    process: Process
    channel: aio.Channel
    log: RecordingLog

    @property
    def records(self) -> "records_pb2_grpc.RecordServiceAsyncStub":
        return records_pb2_grpc.RecordServiceStub(self.channel)

    # paceline: only full {
    @property
    def accounts(self) -> "accounts_pb2_grpc.AccountServiceAsyncStub":
        return accounts_pb2_grpc.AccountServiceStub(self.channel)

    # paceline: }


@asynccontextmanager
async def running_grpc_service(dsn: str, **settings: object) -> AsyncGenerator[GrpcService]:
    log = RecordingLog()
    process = wire_service(config_on(dsn, **settings), log, listens=True)
    async with (
        process.lifecycle,
        aio.insecure_channel(f"127.0.0.1:{process.servers['grpc'].port}") as channel,
    ):
        yield GrpcService(process, channel, log)


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
