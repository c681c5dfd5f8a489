"""GetRecord on bare grpc.aio: the generated servicer, a constant answer, uvloop, nothing else."""

import asyncio
import os

import records_pb2_grpc
import uvloop
from grpc import aio

from myservice.proto.v1 import records_pb2

ANSWER = records_pb2.GetRecordResponse(
    record=records_pb2.Record(
        id="0192f0a0-0000-7000-8000-000000000001",
        name="record 1 of the spring collection",
        metadata={
            "colour": "blue",
            "region": "north",
            "source": "https://shop.example/imports/2026-1",
        },
        created_at=1767225601,
        data='{"quantity": 1, "price": 1001, "tags": ["new", "gift"]}',
        version=1,
        updated_at=1767225601,
    )
)


class Records(records_pb2_grpc.RecordServiceServicer):
    """One method."""

    async def GetRecord(self, request, context):  # noqa: ARG002, N802 - as the proto says
        """A constant."""
        return ANSWER


async def main():
    """Serve until killed."""
    server = aio.server()
    records_pb2_grpc.add_RecordServiceServicer_to_server(Records(), server)
    server.add_insecure_port(f"127.0.0.1:{os.environ['APP_GRPC_PORT']}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
