"""An echo server on a socket that it shares, until its input ends: ``python rpc_sharer.py FD``."""

import asyncio
import socket
import sys

from rpc_echo import add_echo

from paceline.grpc import RpcApp, RpcLimits, RpcServer
from paceline.log import new_logger


async def main(descriptor: int) -> None:
    server = RpcServer(
        add_echo(RpcApp()),
        new_logger(stream=sys.stderr),
        host="127.0.0.1",
        port=0,
        listener=socket.socket(fileno=descriptor),
        limits=RpcLimits(max_connection_age=0.5),
    )
    await server.start()
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


asyncio.run(main(int(sys.argv[1])))
