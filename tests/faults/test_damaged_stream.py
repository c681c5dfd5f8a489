"""A file of one JetStream node of three is damaged while it is down: no acknowledged message is lost.

Each node leads the stream in turn afterwards, the damaged one too, so that a copy that has lost
something would show it.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine_clients import connect_nats
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from paceline.testing import nats_cluster

MESSAGES, PAYLOAD, TURNS = 400, 1_000, 6
PATIENCE = 60.0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Damage:
    id: str
    do: Callable[[Path], None]


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


DAMAGES = [Damage("a bit is flipped", flip_a_bit), Damage("half is cut off", truncate),
           Damage("the file is gone", Path.unlink)]  # fmt: skip


def block_of(folder: Path) -> Path:
    """The file that holds the first node's copy of the messages."""
    [block] = folder.glob("*/node-1/**/streams/THREE/msgs/*.blk")
    return block


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.id)
async def test_what_three_nodes_have_acknowledged_survives_the_damage_of_one(
    damage: Damage, tmp_path: Path, record_property: Record
) -> None:
    async with nats_cluster(tmp_path) as engines:
        urls = [engine.url for engine in engines]
        async with connect_nats(*urls) as client:
            await client.create("THREE", "three", replicas=3)
            padding = "0" * PAYLOAD
            for number in range(MESSAGES):
                await client.publish("three", f"{padding}{number}".encode())
        damaged = engines[0]
        assert damaged.pid is not None
        os.kill(damaged.pid, signal.SIGKILL)
        await damaged.stop()
        damage.do(block_of(tmp_path))
        await damaged.start()
        leaders: set[str] = set()
        for _ in range(TURNS):
            stored = await until_read(urls, leaders)
            assert stored == {*range(MESSAGES)}, f"{MESSAGES - len(stored)} are lost"
    record_property(
        "figure",
        f"{damage.id}: {MESSAGES} acknowledged, none lost, read of {len(leaders - {''})} leaders",
    )


async def until_read(urls: list[str], leaders: set[str]) -> set[int]:
    """Read all messages of the present leader, and let another one lead."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(NatsError, JetStreamError, TimeoutError, OSError):
                async with connect_nats(*urls) as client:
                    leaders.add(await client.leader("THREE"))
                    stored = await client.numbers("THREE")
                    await client.step_down("THREE")
                    return stored
            await asyncio.sleep(0.2)
