"""Connect's conformance service on `RpcServer`, as connectconformance starts it.

A ServerCompatRequest comes on stdin and says what to serve (TLS, client certificates, a message
limit); a ServerCompatResponse on stdout says where; each has its length in four bytes before it.
What the methods have to do is in docs/testing_servers.md of connectrpc/conformance.
"""

import asyncio
import signal
import struct
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from judge_protos import service_pb2 as pb
from judge_protos.server_compat_pb2 import ServerCompatRequest, ServerCompatResponse

from paceline.errors import Code
from paceline.grpc import (
    Call,
    ErrorStatus,
    RpcApp,
    RpcLimits,
    RpcServer,
    client_stream,
    exchange,
    stream,
    unary,
)
from paceline.http.server import TlsFiles
from paceline.testing import SilentLog

_LENGTH: Final = struct.Struct(">I")
_MAX_MESSAGE: Final = 4 * 1024 * 1024
Metadata = list[tuple[str, str | bytes]]


async def unary_call(request: pb.UnaryRequest, call: Call) -> pb.UnaryResponse:
    """Answer as the request defines."""
    payload = await _answer(request.response_definition, [request], call)
    return pb.UnaryResponse(payload=payload)


async def idempotent_unary(
    request: pb.IdempotentUnaryRequest, call: Call
) -> pb.IdempotentUnaryResponse:
    """As `unary_call`; by GET where the protocol has that."""
    payload = await _answer(request.response_definition, [request], call)
    return pb.IdempotentUnaryResponse(payload=payload)


async def client_streaming(
    requests: AsyncIterator[pb.ClientStreamRequest], call: Call
) -> pb.ClientStreamResponse:
    """Answer as the first request defines, when all have come."""
    received = [request async for request in requests]
    definition = received[0].response_definition if received else pb.UnaryResponseDefinition()
    return pb.ClientStreamResponse(payload=await _answer(definition, received, call))


async def _answer(
    definition: pb.UnaryResponseDefinition, requests: Iterable[Message], call: Call
) -> pb.ConformancePayload:
    info = _request_info(call, requests)
    _set_metadata(definition, call)
    await asyncio.sleep(definition.response_delay_ms / 1e3)
    if definition.HasField("error"):
        _fail(call, definition.error, info)
        return pb.ConformancePayload()
    return pb.ConformancePayload(data=definition.response_data, request_info=info)


async def server_streaming(
    request: pb.ServerStreamRequest, call: Call
) -> AsyncGenerator[pb.ServerStreamResponse, None]:
    """The headers at once, and then the answers that the request defines."""
    definition = request.response_definition
    info = _request_info(call, [request])
    _set_metadata(definition, call)
    if request.HasField("response_definition"):
        await call.send_initial()
    for number, data in enumerate(definition.response_data):
        await asyncio.sleep(definition.response_delay_ms / 1e3)
        payload = pb.ConformancePayload(data=data, request_info=None if number else info)
        yield pb.ServerStreamResponse(payload=payload)
    if definition.HasField("error"):
        _fail(call, definition.error, None if definition.response_data else info)


async def bidirectional(
    requests: AsyncIterator[pb.BidiStreamRequest], call: Call
) -> AsyncGenerator[pb.BidiStreamResponse, None]:
    """One answer for each request (full duplex), or all answers after all requests."""
    answers = _Answers(call)
    async for request in requests:
        await answers.take(request)
        if answers.full_duplex:
            if not answers.left:
                break
            yield await answers.next()
    while answers.left:
        yield await answers.next()
    answers.end()


@dataclass
class _Answers:
    """The answers of a bidirectional stream, which its first request defines."""

    call: Call
    definition: pb.StreamResponseDefinition | None = None
    full_duplex: bool = False
    received: list[Message] = field(default_factory=list[Message])
    sent: int = 0

    async def take(self, request: pb.BidiStreamRequest) -> None:
        """Note a request; headers go out at once where answers do."""
        self.received.append(request)
        if self.definition is not None:
            return
        self.definition, self.full_duplex = request.response_definition, request.full_duplex
        _set_metadata(self.definition, self.call)
        if self.full_duplex and request.HasField("response_definition"):
            await self.call.send_initial()

    @property
    def left(self) -> bool:
        """Whether there is one more."""
        return self.definition is not None and self.sent < len(self.definition.response_data)

    async def next(self) -> pb.BidiStreamResponse:
        """The next; with the requests that came since the last one."""
        definition = self.definition or pb.StreamResponseDefinition()
        await asyncio.sleep(definition.response_delay_ms / 1e3)
        info = None
        if not self.sent:
            info = _request_info(self.call, self.received)
        elif self.full_duplex and self.received:
            info = pb.ConformancePayload.RequestInfo(requests=_packed(self.received))
        self.received.clear()
        data = definition.response_data[self.sent]
        self.sent += 1
        return pb.BidiStreamResponse(payload=pb.ConformancePayload(data=data, request_info=info))

    def end(self) -> None:
        """Fail where that is defined."""
        if self.definition is not None and self.definition.HasField("error"):
            info = None if self.sent else _request_info(self.call, self.received)
            _fail(self.call, self.definition.error, info)


def _request_info(call: Call, requests: Iterable[Message]) -> pb.ConformancePayload.RequestInfo:
    headers: dict[str, pb.Header] = {}
    for name, value in call.metadata_pairs:
        text = value if isinstance(value, str) else b64encode(value).decode().rstrip("=")
        headers.setdefault(name, pb.Header(name=name)).value.append(text)
    left = call.time_remaining()
    return pb.ConformancePayload.RequestInfo(
        request_headers=headers.values(),
        timeout_ms=None if left is None else int(left * 1e3),
        requests=_packed(requests),
    )


def _packed(messages: Iterable[Message]) -> list[AnyMessage]:
    found: list[AnyMessage] = []
    for message in messages:
        found.append(AnyMessage())
        found[-1].Pack(message)
    return found


def _set_metadata(
    definition: pb.UnaryResponseDefinition | pb.StreamResponseDefinition, call: Call
) -> None:
    call.initial.extend(_metadata(definition.response_headers))
    call.trailing.extend(_metadata(definition.response_trailers))


def _metadata(headers: Iterable[pb.Header]) -> Metadata:
    found: Metadata = []
    for header in headers:
        name = header.name.lower()
        for value in header.value:
            padded = value + "=" * (-len(value) % 4)
            found.append((name, b64decode(padded) if name.endswith("-bin") else value))
    return found


def _fail(call: Call, error: pb.Error, info: pb.ConformancePayload.RequestInfo | None) -> None:
    details = [*error.details, *_packed([] if info is None else [info])]
    status = Status(code=error.code, message=error.message, details=details)
    call.error = ErrorStatus(Code(error.code), error.message, status.SerializeToString())


def build() -> RpcApp:
    """The service; the method Unimplemented has no handler."""
    app = RpcApp()
    app.add(
        pb.DESCRIPTOR.services_by_name["ConformanceService"].full_name,
        {
            "Unary": unary(unary_call),
            "IdempotentUnary": unary(idempotent_unary),
            "ServerStream": stream(server_streaming),
            "ClientStream": client_stream(client_streaming),
            "BidiStream": exchange(bidirectional),
        },
        without=["Unimplemented"],
    )
    return app


async def serve(request: ServerCompatRequest, folder: Path) -> None:
    """Serve what is asked for until SIGTERM."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    limits = RpcLimits(max_message=request.message_receive_limit or _MAX_MESSAGE)
    tls = _tls_files(request, folder) if request.use_tls else None
    server = RpcServer(build(), SilentLog(), host="127.0.0.1", port=0, limits=limits, tls=tls)
    await server.start()
    answer = ServerCompatResponse(host="127.0.0.1", port=server.port)
    if request.use_tls:
        answer.pem_cert = request.server_creds.cert
    encoded = answer.SerializeToString()
    sys.stdout.buffer.write(_LENGTH.pack(len(encoded)) + encoded)
    sys.stdout.buffer.flush()
    await told.wait()
    async with asyncio.timeout(10):
        await server.stop()


def _tls_files(request: ServerCompatRequest, folder: Path) -> TlsFiles:
    def written(name: str, content: bytes) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    authority = request.client_tls_cert
    return TlsFiles(
        written("cert.pem", request.server_creds.cert),
        written("key.pem", request.server_creds.key),
        client_ca=written("clients.pem", authority) if authority else None,
    )


def main() -> None:
    """Read what to serve, and serve it."""
    (length,) = _LENGTH.unpack(sys.stdin.buffer.read(_LENGTH.size))
    request = ServerCompatRequest.FromString(sys.stdin.buffer.read(length))
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(serve(request, Path(folder)))


if __name__ == "__main__":
    main()
