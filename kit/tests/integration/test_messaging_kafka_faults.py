"""Kafka's bus and consumer while a real broker is killed, frozen, and shared with others."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from consuming import (
    KafkaBroker,
    Recorder,
    Thing,
    becomes,
    consuming,
    dead_letters,
    fails,
    kafka_broker,
    passes,
)
from kafka_running import KafkaServer, running
from nats_running import free_port

from paceline.errors import Code, Error
from paceline.messaging import Incoming, Message
from paceline.messaging.kafka.bus import KafkaBus
from paceline.messaging.kafka.consumer import KafkaConsumer
from paceline.messaging.kafka.topics import Topic
from paceline.messaging.nats import QueueError
from paceline.testing import RecordingLog
from paceline.testing.cancel import cancel_at_every_await

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Generator[KafkaServer]:
    yield from running(Path(tmp_path_factory.mktemp("kafka")))


@pytest.fixture
async def broker(kafka: KafkaServer) -> AsyncGenerator[KafkaBroker]:
    async with kafka_broker(kafka.servers) as real:
        yield real


async def test_start_without_a_broker_says_where_it_is_missing() -> None:
    servers = f"127.0.0.1:{free_port()}"
    bus = KafkaBus(servers, RecordingLog(), start_timeout=0.3)
    with pytest.raises(QueueError, match=f"cannot connect to {servers}") as caught:
        await bus.start()
    assert caught.value.code is Code.UNAVAILABLE
    await bus.stop()


async def test_before_a_start_and_after_a_stop_it_says_so(kafka: KafkaServer) -> None:
    bus = KafkaBus(kafka.servers, RecordingLog())
    await bus.stop()
    for _ in range(2):
        with pytest.raises(QueueError, match="not reachable"):
            await bus.publish(Message("a", b"", "1"))
        assert await fails(bus.ping())
        await bus.start()
        await bus.ping()
        await bus.stop()
        await bus.stop()


async def test_each_message_has_its_own_outcome(broker: KafkaBroker) -> None:
    good, huge = broker.topic.name, b"x" * (2 << 20)
    subjects = [
        (good, b"{}"),
        ("no.such.topic", b""),
        (good, huge),
        ("not a topic", b""),
        (good, b""),
    ]
    messages = [Message(subject, data, str(n)) for n, (subject, data) in enumerate(subjects)]
    outcomes = await broker.bus.publish_all([*messages, messages[1]])
    codes = [outcome.code if isinstance(outcome, Error) else outcome for outcome in outcomes]
    assert codes == [
        None, Code.UNAVAILABLE, Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT, None, Code.UNAVAILABLE,
    ]  # fmt: skip
    await broker.bus.publish(Message(good, b"y" * 900_000, "large"))


async def test_a_publish_may_be_cancelled_anywhere(broker: KafkaBroker) -> None:
    count = 0

    async def work() -> None:
        await broker.bus.publish(Message(broker.topic.name, b"{}", "cancelled"))

    async def check() -> None:
        nonlocal count
        count += 1
        await broker.publish(f"m{count}")

    assert await cancel_at_every_await(work, check) >= 1


async def test_a_consumer_waits_for_a_topic_that_is_not_there_yet(broker: KafkaBroker) -> None:
    recorder, name = Recorder(), f"late{broker.token}"
    consumer = KafkaConsumer(
        broker.bus, recorder, broker.log, type=Thing, topics=[name], group=name,
        heartbeat=0.5, session_timeout=1.0,
    )  # fmt: skip
    async with consuming(consumer):
        assert await fails(consumer.ready())
        await broker.bus.ensure_topics([Topic(name)])
        await broker.bus.publish(Message(name, b'{"n": 1}', "m1"))
        await recorder.until(lambda: recorder.done == ["m1"])
        await becomes(lambda: passes(consumer.ready()))


async def test_an_attempt_outlives_the_consumer_that_counted_it(broker: KafkaBroker) -> None:
    failing = Recorder(lambda item: Error(Code.INTERNAL, "no"))
    async with consuming(broker.consumer(failing, nak_delay=0.5)) as consumer:
        await broker.publish("m1", key="k")

        async def retried() -> bool:
            return consumer.stats.retried == 1

        await becomes(retried)
    recorder = Recorder()
    async with consuming(broker.consumer(recorder)):
        await recorder.until(lambda: bool(recorder.done))
    assert recorder.seen == [("m1", 2)]


async def test_one_that_waits_to_be_tried_again_keeps_nobody_up(broker: KafkaBroker) -> None:
    recorder = Recorder(lambda item: Error(Code.INTERNAL, "no") if item.id == "m0" else None)
    async with consuming(broker.consumer(recorder, nak_delay=600.0)):
        for n in range(20):
            await broker.publish(f"m{n}")
        await recorder.until(lambda: len(recorder.done) == 19)
    again = Recorder()
    async with consuming(broker.consumer(again)):
        await broker.publish("m20")
        await again.until(lambda: bool(again.done))
    assert again.done == ["m20"], "its offset was committed, the one that waits is elsewhere"


async def test_what_a_killed_member_had_in_hand_goes_to_another(broker: KafkaBroker) -> None:
    async def hang(items: Sequence[Incoming[Thing]]) -> None:
        await asyncio.Event().wait()

    hanging = Recorder(before=hang)
    for n in range(20):
        await broker.publish(f"m{n}")
    one = broker.consumer(hanging, batch=2, lanes=1, stop_timeout=0.05)
    await one.start()
    await hanging.until(lambda: bool(hanging.seen))
    recorder = Recorder()
    async with consuming(broker.consumer(recorder)):
        with pytest.raises(Error, match="cut off"):
            await one.stop()
        await recorder.until(lambda: {f"m{n}" for n in range(20)} <= set(recorder.done))
    assert {attempt for _, attempt in recorder.seen} == {1}


async def test_members_that_come_and_go_lose_nothing_and_fail_nothing(broker: KafkaBroker) -> None:
    done: set[str] = set()
    names = {f"m{n}" for n in range(300)}

    async def work(items: Sequence[Incoming[Thing]]) -> None:
        await asyncio.sleep(0.002 * len(items))
        done.update(item.id for item in items)

    recorders = [Recorder(before=work) for _ in range(3)]

    def member(number: int) -> KafkaConsumer[Thing]:
        return KafkaConsumer(
            broker.bus, recorders[number], broker.log, type=Thing, topics=[broker.topic.name],
            group=broker.group, heartbeat=0.5, session_timeout=1.5, batch=4,
        )  # fmt: skip

    async def publish() -> None:
        for name in sorted(names):
            await broker.publish(name, key=name)
            await asyncio.sleep(0.01)

    publishing = asyncio.create_task(publish())
    async with consuming(member(0)):
        for number in (1, 2, 1, 2):
            async with consuming(member(number)):
                await asyncio.sleep(0.6)
        await publishing

        async def all_done() -> bool:
            return names <= done

        await becomes(all_done)
    attempts = {attempt for recorder in recorders for _, attempt in recorder.seen}
    assert attempts == {1}
    assert await broker.dead() == []


async def test_a_letter_that_is_too_large_is_cut(kafka: KafkaServer) -> None:
    small = KafkaBus(kafka.servers, RecordingLog(), max_message=1500)
    await small.start()
    async with kafka_broker(kafka.servers) as broker:
        consumer = KafkaConsumer(
            small, Recorder(), broker.log, type=Thing, topics=[broker.topic.name],
            group=broker.group, heartbeat=0.5,
        )  # fmt: skip
        async with consuming(consumer):
            await broker.bus.publish(
                Message(broker.topic.name, b"?" * 5000, "m1", headers={"h": "x" * 5000})
            )

            async def buried() -> bool:
                return consumer.stats.buried == 1

            await becomes(buried)
        (letter,) = await dead_letters(kafka.servers, broker.group)
    await small.stop()
    assert (letter.id, letter.truncated, letter.data, letter.headers) == ("m1", 5000, b"", {})


async def test_a_broker_that_is_killed_under_load_loses_nothing(kafka: KafkaServer) -> None:
    async with kafka_broker(kafka.servers) as broker:
        recorder, names = Recorder(), [f"m{n}" for n in range(60)]

        async def publish() -> None:
            for name in names:
                published = False
                while not published:
                    with suppress(Error):
                        await broker.publish(name)
                        published = True
                await asyncio.sleep(0.01)

        async with consuming(broker.consumer(recorder)) as consumer:
            publishing = asyncio.create_task(publish())
            await recorder.until(lambda: len(recorder.done) > 5)
            await asyncio.to_thread(kafka.kill)
            await becomes(lambda: fails(consumer.ready()))
            await asyncio.to_thread(kafka.start)
            async with asyncio.timeout(60):
                await publishing
            await recorder.until(lambda: set(recorder.done) == set(names))
            await becomes(lambda: passes(consumer.ready()))
        assert await broker.dead() == []
        assert {attempt for _, attempt in recorder.seen} == {1}


async def test_a_broker_that_hangs_is_noticed_and_used_again_when_it_goes_on(
    kafka: KafkaServer,
) -> None:
    async with kafka_broker(kafka.servers) as broker:
        bus = KafkaBus(kafka.servers, RecordingLog(), publish_timeout=0.5, ping_timeout=0.5)
        await bus.start()
        recorder = Recorder()
        consumer = broker.consumer(recorder)
        await consumer.start()
        await broker.publish("m1")
        await recorder.until(lambda: bool(recorder.done))
        kafka.send(signal.SIGSTOP)
        try:
            await becomes(lambda: fails(consumer.ready()))
            with pytest.raises(Error) as caught:
                await bus.publish(Message(broker.topic.name, b"{}", "m2"))
            assert caught.value.code is Code.DEADLINE_EXCEEDED
            assert await fails(bus.ping())
        finally:
            kafka.send(signal.SIGCONT)
        await becomes(lambda: passes(consumer.ready()))
        await broker.publish("m3")
        await recorder.until(lambda: "m3" in recorder.done)
        await consumer.stop()
        await bus.stop()
