"""Old messages of a stream are deleted when all consumers have settled them, and not before."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from consuming import (
    NatsBroker,
    RecordingHandler,
    Thing,
    becomes,
    consumer_settings,
    consuming,
    nats_broker,
)

from paceline.engines import NatsEngine
from paceline.messaging import Message
from paceline.messaging.nats import NatsConsumer, NatsSubscription, StreamCleaner
from paceline.testing import ManualClock

pytestmark = pytest.mark.integration

MANY = 100_000
KEEP = 3600.0


@pytest.fixture
async def broker(nats: NatsEngine) -> AsyncGenerator[NatsBroker]:
    async with nats_broker(nats.url) as real:
        yield real
        await real.bus.call_api(f"STREAM.DELETE.{real.stream.name}", None, dict[str, Any])


async def left(broker: NatsBroker) -> int:
    info = await broker.bus.call_api(f"STREAM.INFO.{broker.stream.name}", None, dict[str, Any])
    number: int = info["state"]["messages"]
    return number


async def settled(broker: NatsBroker, durable: str = "maker") -> None:
    """Wait until the server knows that all is settled: acknowledgements are on their way."""

    async def condition() -> bool:
        subject = f"CONSUMER.INFO.{broker.stream.name}.{durable}"
        info = await broker.bus.call_api(subject, None, dict[str, Any])
        return not info["num_pending"] and not info["num_ack_pending"]

    await becomes(condition)


def cleaner(broker: NatsBroker, *, later: float = 0.0, consumed: bool = True) -> StreamCleaner:
    """One whose clock is ``later`` seconds ahead."""
    clock = ManualClock(time.time() + later)
    return StreamCleaner(
        broker.bus, broker.log, broker.stream.name, keep=KEEP, consumed=consumed, clock=clock
    )


async def test_what_is_settled_and_old_is_deleted_however_much_it_is(broker: NatsBroker) -> None:
    subject = broker.stream.subjects[0].replace(">", "made")
    for start in range(0, MANY, 10_000):
        made = [Message(subject, b'{"n":1}', f"m{n}", "") for n in range(start, start + 10_000)]
        assert set(await broker.bus.publish_all(made)) == {None}
    assert await cleaner(broker, later=2 * KEEP).clean() == 0, "nobody has consumed it yet"
    handler = RecordingHandler()
    settings = consumer_settings(batch=1000, concurrency=1)
    async with consuming(broker.consumer(handler, settings, ack_wait=60.0)):
        async with asyncio.timeout(120):
            while len(handler.done) < MANY:  # noqa: ASYNC110 - it wakes us for each batch
                await asyncio.sleep(0.05)
        await settled(broker)
        assert await cleaner(broker).clean() == 0, "it is not old yet"
        cleaners = [cleaner(broker, later=2 * KEEP) for _ in range(2)]
        assert sum(await asyncio.gather(*(each.clean() for each in cleaners))) == MANY
        assert await left(broker) == 0
        await broker.publish("1")
        await handler.until(lambda: handler.done[-1] == "1")
        await settled(broker)


async def test_what_one_consumer_has_not_settled_stays(broker: NatsBroker) -> None:
    quick, slow = RecordingHandler(), RecordingHandler()
    subscription = NatsSubscription(broker.stream.name, broker.stream.subjects, durable="slow")
    behind = NatsConsumer(broker.bus, slow, broker.log, type=Thing, subscription=subscription)
    async with consuming(broker.consumer(quick)):
        async with consuming(behind):
            await broker.publish("1")
            await slow.until(lambda: slow.done == ["1"])
            await settled(broker, "slow")
        for name in "234":
            await broker.publish(name)
        await quick.until(lambda: len(quick.done) == 4)
        await settled(broker)
        assert await cleaner(broker, later=2 * KEEP).clean() == 1
        assert await left(broker) == 3


async def test_dead_letters_are_deleted_by_their_age_alone(broker: NatsBroker) -> None:
    for name in "12":
        await broker.publish(name)
    assert await cleaner(broker, consumed=False).clean() == 0
    assert await cleaner(broker, later=2 * KEEP, consumed=False).clean() == 2


async def test_a_stream_that_is_not_there_is_no_error(broker: NatsBroker) -> None:
    assert await StreamCleaner(broker.bus, broker.log, "NONE", keep=KEEP).clean() == 0


async def test_a_cleaner_cleans_again_and_again_and_tells_when_it_cannot(
    broker: NatsBroker,
) -> None:
    every = StreamCleaner(
        broker.bus, broker.log, broker.stream.name, keep=0.0, consumed=False, interval=0.001
    )
    await every.start()
    await broker.publish("1")

    async def empty() -> bool:
        return await left(broker) == 0

    await becomes(empty)
    await broker.bus.stop()

    async def told() -> bool:
        return bool(broker.log.events("error"))

    await becomes(told)
    await every.stop()
    await broker.bus.start()
