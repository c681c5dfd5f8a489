"""gRPC's interop service (grpc.testing.TestService) on `RpcServer`, for the clients of others.

``interop_server.py [--tls CERT KEY]``. What each method has to do is in "gRPC Interoperability Test
Case Descriptions" (doc/interop-test-descriptions.md of gRPC), under "Server".
"""

import argparse
import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Final

from judge_protos import messages_pb2 as pb
from judge_protos import test_pb2
from judge_protos.empty_pb2 import Empty
from serving import run

from paceline.errors import Code, Error
from paceline.grpc import Call, RpcApp, RpcLimits, RpcServer, client_stream, exchange, stream, unary
from paceline.http.server import TlsFiles
from paceline.testing import SilentLog

INITIAL: Final = "x-grpc-test-echo-initial"
TRAILING: Final = "x-grpc-test-echo-trailing-bin"
LIMITS: Final = RpcLimits(max_message=16 * 1024 * 1024)  # a case sends 10 MiB


async def empty_call(request: Empty, call: Call) -> Empty:
    """Nothing for nothing."""
    del request, call
    return Empty()


async def unary_call(request: pb.SimpleRequest, call: Call) -> pb.SimpleResponse:
    """A payload of the size, in the coding, and with the status that the request asks for."""
    _echo_metadata(call)
    _check_compressed(request, call)
    _raise_status(request.response_status)
    call.compress(on=request.response_compressed.value)
    server_id = "paceline" if request.fill_server_id else ""
    return pb.SimpleResponse(payload=_payload(request.response_size), server_id=server_id)


async def streaming_output(
    request: pb.StreamingOutputCallRequest, call: Call
) -> AsyncGenerator[pb.StreamingOutputCallResponse, None]:
    """Payloads of the sizes that the request asks for."""
    _echo_metadata(call)
    async for response in _responses(request, call):
        yield response


async def streaming_input(
    requests: AsyncIterator[pb.StreamingInputCallRequest], call: Call
) -> pb.StreamingInputCallResponse:
    """The sum of the sizes that were sent."""
    total = 0
    async for request in requests:
        _check_compressed(request, call)
        total += len(request.payload.body)
    return pb.StreamingInputCallResponse(aggregated_payload_size=total)


async def full_duplex(
    requests: AsyncIterator[pb.StreamingOutputCallRequest], call: Call
) -> AsyncGenerator[pb.StreamingOutputCallResponse, None]:
    """For each request at once the payloads that it asks for."""
    _echo_metadata(call)
    async for request in requests:
        _raise_status(request.response_status)
        async for response in _responses(request, call):
            yield response


async def half_duplex(
    requests: AsyncIterator[pb.StreamingOutputCallRequest], call: Call
) -> AsyncGenerator[pb.StreamingOutputCallResponse, None]:
    """As `full_duplex`, when all requests have come."""
    for request in [request async for request in requests]:
        async for response in _responses(request, call):
            yield response


async def _responses(
    request: pb.StreamingOutputCallRequest, call: Call
) -> AsyncGenerator[pb.StreamingOutputCallResponse, None]:
    for wanted in request.response_parameters:
        if wanted.interval_us:
            await asyncio.sleep(wanted.interval_us / 1e6)
        if wanted.HasField("compressed"):
            call.compress(on=wanted.compressed.value)
        yield pb.StreamingOutputCallResponse(payload=_payload(wanted.size))


def _payload(size: int) -> pb.Payload:
    return pb.Payload(body=bytes(size))


def _echo_metadata(call: Call) -> None:
    for name, value in call.metadata_pairs:
        if name == INITIAL:
            call.initial.append((name, value))
        elif name == TRAILING:
            call.trailing.append((name, value))


def _check_compressed(request: pb.SimpleRequest | pb.StreamingInputCallRequest, call: Call) -> None:
    expected = request.HasField("expect_compressed")
    if expected and request.expect_compressed.value != call.received_compressed:
        raise Error(Code.INVALID_ARGUMENT, "the request is not compressed as it says")


def _raise_status(status: pb.EchoStatus) -> None:
    if status.code:
        raise Error(Code(status.code), status.message)


def build() -> RpcApp:
    """The services; UnimplementedCall and UnimplementedService stay unimplemented."""
    app = RpcApp()
    app.add(
        test_pb2.DESCRIPTOR.services_by_name["TestService"].full_name,
        {
            "EmptyCall": unary(empty_call),
            "UnaryCall": unary(unary_call),
            "CacheableUnaryCall": unary(unary_call),
            "StreamingOutputCall": stream(streaming_output),
            "StreamingInputCall": client_stream(streaming_input),
            "FullDuplexCall": exchange(full_duplex),
            "HalfDuplexCall": exchange(half_duplex),
        },
        without=["UnimplementedCall"],
    )
    return app


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", nargs=2, type=Path, default=None)
    files: list[Path] | None = parser.parse_args().tls
    tls = None if files is None else TlsFiles(*files)
    server = RpcServer(build(), SilentLog(), host="127.0.0.1", port=0, limits=LIMITS, tls=tls)
    run(server)


if __name__ == "__main__":
    main()
