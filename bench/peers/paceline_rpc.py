"""GetRecord on our gRPC server: one typed method, a constant answer, no interceptor.

The answer is that of ``grpc_bare``, so the two differ in the server alone.
"""

import asyncio
import os
import sys

import uvloop
from grpc_bare import ANSWER

from myservice.proto.v1 import records_pb2
from paceline.grpc import Call, RpcApp, RpcServer, unary
from paceline.lifecycle import Lifecycle
from paceline.log import setup_logging

SERVICE = "myservice.v1.RecordService"


async def get_record(_request: records_pb2.GetRecordRequest, _call: Call):
    """A constant."""
    return ANSWER


def new_app() -> RpcApp:
    """The application."""
    app = RpcApp()
    service = records_pb2.DESCRIPTOR.services_by_name["RecordService"]
    others = [method.name for method in service.methods if method.name != "GetRecord"]
    app.add(SERVICE, {"GetRecord": unary(get_record, public=True)}, without=others)
    return app


async def main() -> int:
    """Serve until a signal."""
    log = setup_logging("error", format="json")
    server = RpcServer(new_app(), log, host="127.0.0.1", port=int(os.environ["APP_GRPC_PORT"]))
    return await Lifecycle([server], log).run()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(main()))
