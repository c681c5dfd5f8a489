"""A small worker: it answers its process number over HTTP. ``python worker_program.py FOLDER``.

``FOLDER/mood`` says how it behaves at its start: "well", "crash", "hang", or "deaf" (it never stops).
A request of ``/spin`` keeps it busy for ever.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from http_wire import send_answer

from paceline.commands.prefork import SupervisorLink, WorkerHandoff, take_handoff
from paceline.http import ServerLimits
from paceline.http.asgi import Receive, Scope, Send
from paceline.http.server import HttpServer
from paceline.lifecycle import Lifecycle, OnShutdown, Service
from paceline.testing import RecordingLog


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    while scope["path"] == "/spin":
        pass
    await send_answer(send, str(os.getpid()).encode())


async def never() -> None:
    await asyncio.Event().wait()


async def main(handoff: WorkerHandoff, mood: str) -> int:
    servers = [
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
    ]
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
