"""The Kafka bus and consumer while a real broker is killed, frozen, and shared with others."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from consuming import (
    KafkaBroker,
    RecordingHandler,
    Thing,
    becomes,
    consumer_settings,
    consuming,
    dead_lettered,
    dead_letters,
    fails,
    kafka_broker,
    passes,
)
from kafka_running import KafkaServer, running
from nats_running import free_port

from paceline.errors import Code, Error
from paceline.messaging import Incoming, Message, QueueError
from paceline.messaging.kafka import (
    KafkaBus,
    KafkaBusSettings,
    KafkaConsumer,
    KafkaSubscription,
    Topic,
)
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


async def test_start_without_a_broker_names_the_address() -> None:
    servers = f"127.0.0.1:{free_port()}"
    bus = KafkaBus(servers, RecordingLog(), settings=KafkaBusSettings(start_timeout=0.3))
    with pytest.raises(QueueError, match=f"cannot connect to {servers}") as caught:
        await bus.start()
    assert caught.value.code is Code.UNAVAILABLE
    await bus.stop()


async def test_a_bus_that_is_not_started_refuses(kafka: KafkaServer) -> None:
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


async def test_a_consumer_waits_for_a_topic_that_does_not_exist_yet(broker: KafkaBroker) -> None:
    recorder, name = RecordingHandler(), f"late{broker.token}"
    consumer = KafkaConsumer(
        broker.bus, recorder, broker.log, type=Thing,
        subscription=KafkaSubscription((name,), name, session_timeout=1.0),
        settings=consumer_settings(),
    )  # fmt: skip
    async with consuming(consumer):
        assert await fails(consumer.ready())
        await broker.bus.ensure_topics([Topic(name)])
        await broker.bus.publish(Message(name, b'{"n": 1}', "m1"))
        await recorder.until(lambda: recorder.done == ["m1"])
        await becomes(lambda: passes(consumer.ready()))


async def test_an_attempt_outlives_the_consumer_that_counted_it(broker: KafkaBroker) -> None:
    failing = RecordingHandler(lambda item: Error(Code.INTERNAL, "no"))
    async with consuming(broker.consumer(failing, consumer_settings(retry_delay=0.5))) as consumer:
        await broker.publish("m1", key="k")

        async def retried() -> bool:
            return consumer.stats.retried == 1

        await becomes(retried)
    recorder = RecordingHandler()
    async with consuming(broker.consumer(recorder)):
        await recorder.until(lambda: bool(recorder.done))
    assert recorder.seen == [("m1", 2)]


async def test_a_message_that_waits_for_its_retry_delays_no_other(broker: KafkaBroker) -> None:
    recorder = RecordingHandler(
        lambda item: Error(Code.INTERNAL, "no") if item.id == "m0" else None
    )
    async with consuming(broker.consumer(recorder, consumer_settings(retry_delay=600.0))):
        for n in range(20):
            await broker.publish(f"m{n}")
        await recorder.until(lambda: len(recorder.done) == 19)
    again = RecordingHandler()
    async with consuming(broker.consumer(again)):
        await broker.publish("m20")
        await again.until(lambda: bool(again.done))
    assert again.done == ["m20"], (
        "its offset is committed: the message that waits is in the retry topic"
    )


async def test_what_a_member_had_in_hand_goes_to_another(broker: KafkaBroker) -> None:
    async def hang(items: Sequence[Incoming[Thing]]) -> None:
        await asyncio.Event().wait()

    hanging = RecordingHandler(before=hang)
    for n in range(20):
        await broker.publish(f"m{n}")
    one = broker.consumer(hanging, consumer_settings(batch=2, concurrency=1, stop_timeout=0.05))
    await one.start()
    await hanging.until(lambda: bool(hanging.seen))
    recorder = RecordingHandler()
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

    recorders = [RecordingHandler(before=work) for _ in range(3)]

    def member(number: int) -> KafkaConsumer[Thing]:
        return KafkaConsumer(
            broker.bus, recorders[number], broker.log, type=Thing,
            subscription=KafkaSubscription(
                (broker.topic.name,), broker.group, session_timeout=1.5
            ),
            settings=consumer_settings(batch=4, retry_delay=5.0),
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


async def test_a_dead_letter_that_is_too_large_is_shortened(kafka: KafkaServer) -> None:
    small = KafkaBus(kafka.servers, RecordingLog(), settings=KafkaBusSettings(max_message=1500))
    await small.start()
    async with kafka_broker(kafka.servers) as broker:
        consumer = KafkaConsumer(
            small, RecordingHandler(), broker.log, type=Thing,
            subscription=KafkaSubscription((broker.topic.name,), broker.group),
            settings=consumer_settings(),
        )  # fmt: skip
        async with consuming(consumer):
            await broker.bus.publish(
                Message(broker.topic.name, b"?" * 5000, "m1", headers={"h": "x" * 5000})
            )
            await dead_lettered(consumer, 1)
        (letter,) = await dead_letters(kafka.servers, broker.group)
    await small.stop()
    assert (letter.id, letter.truncated, letter.data, letter.headers) == ("m1", 5000, b"", {})


async def test_a_broker_that_is_killed_under_load_loses_nothing(kafka: KafkaServer) -> None:
    async with kafka_broker(kafka.servers) as broker:
        recorder, names = RecordingHandler(), [f"m{n}" for n in range(60)]

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


async def test_a_frozen_broker_is_noticed_and_used_again_when_it_goes_on(
    kafka: KafkaServer,
) -> None:
    async with kafka_broker(kafka.servers) as broker:
        bus = KafkaBus(
            kafka.servers,
            RecordingLog(),
            settings=KafkaBusSettings(publish_timeout=0.5, ping_timeout=0.5),
        )
        await bus.start()
        recorder = RecordingHandler()
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
