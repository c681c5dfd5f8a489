"""Long-lived gRPC connections are shared evenly between the workers, also after one was replaced."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio
from rpc_echo import SAY
from rpc_wire import one
from running_supervisor import PATIENCE, Supervisor, supervisor

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

CHANNELS = 8
SHARE, TOLERANCE = CHANNELS // 2, 1
TURNS = 3
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


@asynccontextmanager
async def channels(running: Supervisor) -> AsyncGenerator[list[aio.Channel]]:
    """So many clients, each with a connection of its own, once all are connected."""
    port = running.lines("ready")[0]["grpc_port"]
    async with AsyncExitStack() as stack:
        opened: list[aio.Channel] = []
        for _ in range(CHANNELS):
            channel = aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)
            opened.append(await stack.enter_async_context(channel))
            await who_answers(channel)
        yield opened


async def who_answers(channel: aio.Channel) -> int:
    """The process at the other end. Errors: AioRpcError."""
    answer = await one(channel, SAY)(b"", timeout=PATIENCE)
    return int(StringValue.FromString(answer).value)


async def distribution(opened: list[aio.Channel]) -> Counter[int]:
    return Counter(await asyncio.gather(*(who_answers(each) for each in opened)))


def is_even(found: Counter[int]) -> bool:
    return len(found) == 2 and all(abs(n - SHARE) <= TOLERANCE for n in found.values())


async def test_two_workers_have_four_of_eight_connections_each(tmp_path: Path) -> None:
    async with supervisor(tmp_path, mood="rpc", servers=("http", "grpc")) as running:
        await running.until_said("ready")
        turns: list[Counter[int]] = []
        for _ in range(TURNS):
            async with channels(running) as opened:
                turns.append(await distribution(opened))
                # They stay where they are, as long as they have no age.
                assert await distribution(opened) == turns[-1]
        # Where the machine lets a worker wait for its processor, the other takes its clients.
        assert sum(is_even(found) for found in turns) > TURNS / 2, turns


async def test_connections_that_end_by_their_age_move_to_a_new_worker(tmp_path: Path) -> None:
    async with supervisor(tmp_path, mood="young", servers=("http", "grpc")) as running:
        await running.until_said("ready")
        async with channels(running) as opened:
            victim, kept = running.pids()
            os.kill(victim, signal.SIGKILL)
            lost = await asyncio.gather(*(lost_calls(each) for each in opened))
            assert sum(lost) <= CHANNELS
            await running.until_said("worker ready", times=3)
            found = await distribution(opened)
            async with asyncio.timeout(PATIENCE):
                while not is_even(found):
                    await asyncio.sleep(0.1)
                    found = await distribution(opened)  # no call fails
            assert set(found) == {kept, running.pids()[-1]}


async def lost_calls(channel: aio.Channel) -> int:
    """How many calls fail before one is answered by the worker that is left."""
    failed = 0
    while True:
        try:
            await who_answers(channel)
        except aio.AioRpcError:
            failed += 1
        else:
            return failed
