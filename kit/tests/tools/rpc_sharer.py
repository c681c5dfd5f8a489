"""An echo server on a port that it shares, until its input ends: ``python rpc_sharer.py PORT``."""

import asyncio
import sys

from rpc_echo import add_echo

from paceline.grpc.app import RpcApp
from paceline.grpc.server import RpcLimits, RpcServer


async def main(port: int) -> None:
    app = add_echo(RpcApp())
    limits = RpcLimits(max_connection_age=0.5)
    server = RpcServer(app, host="127.0.0.1", port=port, reuse_port=True, limits=limits)
    await server.start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


asyncio.run(main(int(sys.argv[1])))
