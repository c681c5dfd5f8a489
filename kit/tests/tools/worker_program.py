"""A small worker: it answers its process number over HTTP on each of its listeners.

``python worker_program.py FOLDER``; ``FOLDER/mood`` says how it behaves at its start: "well",
"crash", "hang", "deaf" (it never stops), "rpc" (the listener "grpc" is gRPC's), or "young" (as that,
and its connections end after half a second). A request of ``/spin`` keeps it busy for ever.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from google.protobuf.wrappers_pb2 import StringValue
from http_wire import send_answer
from rpc_echo import add_echo

from paceline.commands.prefork import SupervisorLink, WorkerHandoff, take_handoff
from paceline.grpc import Call, RpcApp, RpcLimits, RpcServer
from paceline.http import ServerLimits
from paceline.http.asgi import Receive, Scope, Send
from paceline.http.server import HttpServer
from paceline.lifecycle import Lifecycle, OnShutdown, Service
from paceline.testing import RecordingLog


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    while scope["path"] == "/spin":
        pass
    await send_answer(send, str(os.getpid()).encode())


async def say(request: StringValue, call: Call) -> StringValue:
    return StringValue(value=str(os.getpid()))


async def never() -> None:
    await asyncio.Event().wait()


async def main(handoff: WorkerHandoff, mood: str) -> int:
    servers: list[Service] = [
        HttpServer(
            answer,
            RecordingLog(),
            name=name,
            host="",
            port=0,
            listener=handoff.take_listener(name),
            limits=ServerLimits(keep_alive_grace=5.0),
        )
        for name in handoff.ports
        if name != "grpc" or mood not in {"rpc", "young"}
    ]
    if mood in {"rpc", "young"}:
        servers.append(
            RpcServer(
                add_echo(RpcApp(), say),
                RecordingLog(),
                host="",
                port=0,
                listener=handoff.take_listener("grpc"),
                limits=RpcLimits(max_connection_age=0.5 if mood == "young" else None),
            )
        )
    link = SupervisorLink(handoff, on_retire=lambda: lifecycle.hand_over())  # noqa: PLW0108 - made below
    services: list[Service] = (
        [link, *servers, OnShutdown("deaf", never)] if mood == "deaf" else [link, *servers]
    )
    lifecycle = Lifecycle(services, RecordingLog(), shutdown_timeout=60 if mood == "deaf" else 5)
    return await lifecycle.run(link.report_ready)


if __name__ == "__main__":
    what, how = take_handoff(), (Path(sys.argv[1]) / "mood").read_text()
    assert what is not None
    if how == "crash":
        sys.exit(7)
    if how == "hang":
        signal.pause()
    sys.exit(asyncio.run(main(what, how)))
