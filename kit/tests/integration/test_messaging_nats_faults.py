"""The NATS bus and consumer while a real server is killed, frozen, and loses its state."""

import asyncio
import shutil
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from consuming import (
    NatsBroker,
    RecordingHandler,
    Thing,
    becomes,
    consumer_settings,
    consuming,
    dead_lettered,
    fails,
    nats_broker,
    passes,
)
from nats.aio.msg import Msg
from nats_running import NatsServer, free_port

from paceline.errors import Code, Error, NotFound
from paceline.messaging import ConsumerSettings, Incoming, Message, QueueError
from paceline.messaging.nats import (
    DeadLetters,
    NatsBus,
    NatsBusSettings,
    NatsConsumer,
    NatsSubscription,
    Stream,
    dead_letter_stream,
)
from paceline.messaging.nats.connection import NatsConnection
from paceline.messaging.nats.jetstream import PubAck, Success
from paceline.testing import RecordingLog
from paceline.testing.cancel import cancel_at_every_await

pytestmark = pytest.mark.integration


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[NatsServer]:
    running = NatsServer(tmp_path / "store")
    running.start()
    yield running
    await running.kill()


@pytest.fixture
async def broker(server: NatsServer) -> AsyncGenerator[NatsBroker]:
    async with nats_broker(server.url) as real:
        yield real


async def test_start_waits_for_a_server_that_is_coming_up(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, free_port())
    bus = NatsBus(server.url, RecordingLog(), streams=[Stream("A", ("a.>",))])
    starting = asyncio.create_task(bus.start())
    await asyncio.sleep(0.1)
    server.start()
    await starting
    await bus.publish(Message("a.b", b"", "1"))
    await bus.ping()
    await bus.stop()
    await server.kill()


async def test_start_without_a_server_says_where_it_is_missing() -> None:
    port = free_port()
    bus = NatsBus(
        f"nats://ada:secret@127.0.0.1:{port}",
        RecordingLog(),
        settings=NatsBusSettings(start_timeout=0.2),
    )
    with pytest.raises(QueueError, match=f"cannot connect to 127.0.0.1:{port}") as caught:
        await bus.start()
    assert caught.value.code is Code.UNAVAILABLE
    await bus.stop()


async def test_a_message_with_the_same_id_is_stored_once(broker: NatsBroker) -> None:
    for _ in range(3):
        await broker.publish("m1")
    recorder = RecordingHandler()
    async with consuming(broker.consumer(recorder)):
        await broker.publish("m2")
        await recorder.until(lambda: "m2" in recorder.done)
    assert recorder.done == ["m1", "m2"]


async def test_each_message_of_many_has_its_own_outcome(broker: NatsBroker) -> None:
    subject = broker.stream.subjects[0].replace(">", "made")
    outcomes = await broker.bus.publish_all(
        [
            Message(subject, b"1", "1"),
            Message("nowhere.to.go", b"2", "2"),
            Message(subject, b"x" * (1 << 21), "3"),
            Message("not a subject", b"4", "4"),
            Message(subject, b"5", "5", headers={"bad header": "x"}),
            Message(subject, b"6", "6", headers={"ü": "y"}),
            Message(subject, b"7", "7"),
        ]
    )
    codes = [each.code if isinstance(each, Error) else each for each in outcomes]
    invalid = Code.INVALID_ARGUMENT
    assert codes == [None, Code.UNAVAILABLE, invalid, invalid, invalid, invalid, None]


async def test_what_is_published_while_the_server_is_killed_is_handled_once(
    broker: NatsBroker, server: NatsServer
) -> None:
    recorder = RecordingHandler()
    names = [f"m{n}" for n in range(400)]
    async with consuming(broker.consumer(recorder, ack_wait=1.0)) as consumer:
        publishing = asyncio.create_task(_publish_slowly(broker, names))
        await recorder.until(lambda: len(recorder.done) > 50)
        await server.kill()
        await becomes(lambda: fails(consumer.ready()))
        server.start()
        await publishing
        await recorder.until(lambda: len(set(recorder.done)) == len(names))
        await becomes(lambda: passes(consumer.ready()))
    events = broker.log.events("warning") + broker.log.events("info")
    assert events.count("queue disconnected") == events.count("queue reconnected") == 1
    assert await broker.dead() == []


async def test_a_frozen_server_is_noticed_and_used_again_when_it_goes_on(
    broker: NatsBroker, server: NatsServer
) -> None:
    recorder = RecordingHandler()
    async with consuming(broker.consumer(recorder, ack_wait=2.0)) as consumer:
        await broker.publish("m1")
        await recorder.until(lambda: recorder.done == ["m1"])
        server.send(signal.SIGSTOP)
        publishing = asyncio.create_task(broker.publish("m2"))
        await becomes(lambda: fails(broker.bus.ping()))
        await becomes(lambda: fails(consumer.ready()))
        await asyncio.sleep(2)
        server.send(signal.SIGCONT)
        await publishing
        await recorder.until(lambda: "m2" in recorder.done)
        await becomes(lambda: passes(consumer.ready()))
        await becomes(lambda: passes(broker.bus.ping()))


async def test_a_consumer_that_was_deleted_is_created_again_and_goes_on(broker: NatsBroker) -> None:
    recorder = RecordingHandler()
    async with consuming(broker.consumer(recorder)):
        await broker.publish("m1")
        await recorder.until(lambda: recorder.done == ["m1"])
        subject = f"CONSUMER.DELETE.{broker.stream.name}.maker"
        await broker.bus.call_api(subject, None, Success)
        await broker.publish("m2")
        await recorder.until(lambda: "m2" in recorder.done)


async def test_a_stream_that_was_deleted_is_waited_for(broker: NatsBroker) -> None:
    recorder = RecordingHandler()
    async with consuming(broker.consumer(recorder)) as consumer:
        await becomes(lambda: passes(consumer.ready()))
        await broker.bus.call_api(f"STREAM.DELETE.{broker.stream.name}", None, Success)
        await becomes(lambda: fails(consumer.ready()))
        await broker.bus.ensure_stream(broker.stream)
        await broker.publish("m2")
        await recorder.until(lambda: "m2" in recorder.done)
        await becomes(lambda: passes(consumer.ready()))


async def test_a_stream_that_was_made_anew_is_consumed_from_its_beginning(
    broker: NatsBroker,
) -> None:
    recorder = RecordingHandler()
    old, new = [f"old{n}" for n in range(22)], [f"new{n}" for n in range(30)]
    consumer = _with_a_fresh_floor(broker, recorder)
    async with consuming(consumer):
        for name in old:
            await broker.publish(name)
        await recorder.until(lambda: len(recorder.done) == len(old))
        await _acknowledged(broker, consumer)
        await broker.bus.call_api(f"STREAM.DELETE.{broker.stream.name}", None, Success)
        await broker.bus.ensure_stream(broker.stream)
        for name in new:
            await broker.publish(name)
        await recorder.until(lambda: set(new) <= set(recorder.done))
        await becomes(lambda: passes(consumer.ready()))


async def test_an_acknowledgement_for_a_stream_that_is_gone_settles_nothing_of_the_new_one(
    broker: NatsBroker,
) -> None:
    release = {"old1": asyncio.Event(), "new1": asyncio.Event()}

    async def before(items: Sequence[Incoming[Thing]]) -> None:
        await release[items[0].id].wait()

    recorder = RecordingHandler(before=before)
    consumer = _with_a_fresh_floor(broker, recorder)
    async with consuming(consumer):
        await broker.publish("old1", key="a")
        await recorder.until(lambda: len(recorder.seen) == 1)
        await broker.bus.call_api(f"STREAM.DELETE.{broker.stream.name}", None, Success)
        await broker.bus.ensure_stream(broker.stream)
        await broker.publish("new1", key="d")  # another of the two workers than "a" has
        await recorder.until(lambda: len(recorder.seen) == 2)
        release["old1"].set()

        async def one_is_acknowledged() -> bool:
            return consumer.stats.acknowledged == 1

        await becomes(one_is_acknowledged)
        await broker.bus.ping()
        assert (await consumer.backlog()).unsettled == 1
        release["new1"].set()


async def test_a_message_that_failed_while_its_stream_was_lost_becomes_a_dead_letter(
    broker: NatsBroker,
) -> None:
    release = asyncio.Event()

    async def before(items: Sequence[Incoming[Thing]]) -> None:
        del items
        await release.wait()

    failing = RecordingHandler(lambda item: Error(Code.INTERNAL, "no"), before)
    consumer = _with_a_fresh_floor(broker, failing)
    async with consuming(consumer):
        await broker.publish("old1")
        await failing.until(lambda: len(failing.seen) == 1)
        await becomes(lambda: passes(consumer.ready()))
        await broker.bus.call_api(f"STREAM.DELETE.{broker.stream.name}", None, Success)
        await becomes(lambda: fails(consumer.ready()))
        await broker.bus.ensure_stream(broker.stream)
        await becomes(lambda: passes(consumer.ready()))
        release.set()
        await becomes(lambda: _has_dead(broker, "old1"))


async def test_ids_that_the_consumer_makes_are_not_those_of_another_stream_of_the_name(
    broker: NatsBroker,
) -> None:
    recorder = RecordingHandler()
    connection = await broker.bus.connection(5)
    subject = broker.stream.subjects[0].replace(">", "made")
    async with consuming(broker.consumer(recorder)) as consumer:
        await connection.send(subject, b'{"n":1}')
        await recorder.until(lambda: len(recorder.done) == 1)
        await broker.bus.call_api(f"STREAM.DELETE.{broker.stream.name}", None, Success)
        await becomes(lambda: fails(consumer.ready()))
        await broker.bus.ensure_stream(broker.stream)
        await connection.send(subject, b'{"n":2}')
        await recorder.until(lambda: len(recorder.done) == 2)
    assert len(set(recorder.done)) == 2


async def test_a_server_that_is_back_with_an_empty_store_is_given_its_streams_again(
    server: NatsServer,
) -> None:
    async with nats_broker(server.url) as broker:
        log = broker.log
        settings = NatsBusSettings(ping_interval=0.5, ping_timeout=1.0)
        bus = NatsBus(server.url, log, streams=[broker.stream], settings=settings)
        await bus.start()
        again = NatsBroker(bus, log, broker.token)
        recorder = RecordingHandler()
        async with consuming(again.consumer(recorder)) as consumer:
            await again.publish("m1")
            await recorder.until(lambda: recorder.done == ["m1"])
            await server.kill()
            shutil.rmtree(server.folder)
            server.start()
            await becomes(lambda: fails(consumer.ready()))
            await becomes(lambda: passes(consumer.ready()))
            await becomes(lambda: passes(again.publish("m2")))
            await recorder.until(lambda: "m2" in recorder.done)
        await bus.stop()
        assert "stream created again" in log.events("warning")


async def test_a_publisher_declares_its_stream_again_when_nothing_takes_the_subject(
    broker: NatsBroker, server: NatsServer
) -> None:
    bus = NatsBus(server.url, broker.log, streams=[broker.stream])
    await bus.start()
    again = NatsBroker(bus, broker.log, broker.token)
    await bus.call_api(f"STREAM.DELETE.{broker.stream.name}", None, Success)
    with pytest.raises(QueueError, match="no stream takes this subject"):
        await again.publish("m1")
    await becomes(lambda: passes(again.publish("m2")))
    await bus.stop()


async def test_a_stream_of_dead_letters_that_was_deleted_is_created_again(
    broker: NatsBroker,
) -> None:
    final = RecordingHandler(lambda item: Error(Code.INVALID_ARGUMENT, "never"))
    async with consuming(broker.consumer(final, ack_wait=0.5)) as consumer:
        await becomes(lambda: passes(consumer.ready()))
        await broker.bus.call_api(f"STREAM.DELETE.{dead_letter_stream().name}", None, Success)
        await broker.publish("m1")

        async def is_stored() -> bool:
            answer = await broker.bus.call_api(
                f"STREAM.INFO.{dead_letter_stream().name}", None, _Stored
            )
            return answer.state.messages == 1

        await becomes(lambda: passes(_succeeds(is_stored)))


def _with_a_fresh_floor(broker: NatsBroker, handler: RecordingHandler) -> NatsConsumer[Thing]:
    """A consumer with calls of one message, that asks for its acknowledgements at each fetch."""
    return NatsConsumer(
        broker.bus,
        handler,
        broker.log,
        type=Thing,
        subscription=NatsSubscription(
            broker.stream.name,
            broker.stream.subjects,
            durable="maker",
            ack_wait=6.0,
            position_interval=0.0,
        ),
        settings=consumer_settings(batch=1, retry_delay=0.02),
    )


async def _acknowledged(broker: NatsBroker, consumer: NatsConsumer[Thing]) -> None:
    """Wait until the server has all acknowledgements, and the consumer has seen that it has."""

    async def nothing_is_left() -> bool:
        return (await consumer.backlog()).unsettled == 0

    await becomes(nothing_is_left)
    await broker.publish("last")  # so that there is another fetch
    await becomes(nothing_is_left)


class _State(msgspec.Struct, frozen=True):
    messages: int


class _Stored(msgspec.Struct, frozen=True):
    state: _State


async def _succeeds(condition: Callable[[], Awaitable[bool]]) -> None:
    if not await condition():
        raise Error(Code.NOT_FOUND, "not yet")


async def _has_dead(broker: NatsBroker, ident: str) -> bool:
    return any(name == ident for name, _, _ in await broker.dead())


async def test_a_request_without_a_reply_is_sent_again(server: NatsServer) -> None:
    async with connected(server) as connection:
        received: list[Msg] = []

        async def reply_to_the_second(message: Msg) -> None:
            received.append(message)
            if len(received) == 2:
                await connection.send(message.reply, b"here")

        await connection.subscribe("question", reply_to_the_second)
        answer = await connection.request_repeatedly("question", b"?", 20, interval=0.05)
        assert answer.data == b"here"
        with pytest.raises(QueueError) as caught:
            await connection.request_repeatedly("question", b"?", 0.2, interval=0.05)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert {message.data for message in received} == {b"?"}


async def test_a_repeated_request_fails_at_once_when_the_connection_is_lost(
    server: NatsServer,
) -> None:
    async with connected(server) as connection:
        received: list[Msg] = []
        three_received = asyncio.Event()

        async def note(message: Msg) -> None:
            received.append(message)
            if len(received) > 2:
                three_received.set()

        await connection.subscribe("question", note)
        requesting = asyncio.create_task(
            connection.request_repeatedly("question", b"?", 60, interval=0.02)
        )
        await three_received.wait()
        await server.kill()
        with pytest.raises(QueueError) as caught:
            await requesting
        assert caught.value.code is Code.UNAVAILABLE


@asynccontextmanager
async def connected(server: NatsServer) -> AsyncGenerator[NatsConnection]:
    """A connection to a server that is coming up."""
    bus = NatsBus(server.url, RecordingLog())
    await bus.start()
    try:
        yield await bus.connection(5)
    finally:
        await bus.stop()


async def test_attempts_are_counted_across_processes(broker: NatsBroker) -> None:
    failing = RecordingHandler(lambda item: Error(Code.INTERNAL, "no"))
    await broker.publish("m1")
    async with consuming(broker.consumer(failing, consumer_settings(retry_delay=0.2))) as consumer:

        async def twice() -> bool:
            return consumer.stats.retried == 2

        await becomes(twice)
    recorder = RecordingHandler()
    async with consuming(broker.consumer(recorder)):
        await recorder.until(lambda: recorder.done == ["m1"])
    assert recorder.seen == [("m1", 3)]


async def test_a_stream_keeps_the_settings_that_others_made(broker: NatsBroker) -> None:
    stream = broker.stream
    wider = Stream(stream.name, (*stream.subjects, f"more{broker.token}.>"), max_bytes=5)
    await broker.bus.ensure_stream(wider)
    await broker.bus.ensure_stream(stream)
    await broker.bus.publish(Message(f"more{broker.token}.x", b"12345678", "1"))
    await broker.publish("m1")


async def test_dead_letters_are_listed_shown_retried_and_dropped(broker: NatsBroker) -> None:
    letters = DeadLetters(broker.bus, stream=dead_letter_stream())
    final = RecordingHandler(lambda item: Error(Code.INVALID_ARGUMENT, "never"))
    async with consuming(broker.consumer(final)) as consumer:
        for n in range(5):
            await broker.publish(f"m{n}", key="k")
        await dead_lettered(consumer, 5)
    first = await letters.list(limit=2)
    rest = await letters.list(after=first[-1].number)
    assert [len(first), len(rest)] == [2, 3]
    shown = await letters.show(first[0].number)
    assert shown == first[0]
    assert shown.letter.key == "k"
    again = await letters.retry(shown.number)
    assert again.id != shown.letter.id
    await letters.drop(first[1].number)
    for gone in first:
        with pytest.raises(NotFound):
            await letters.show(gone.number)
        with pytest.raises(NotFound):
            await letters.drop(gone.number)
    recorder = RecordingHandler()
    async with consuming(broker.consumer(recorder)):
        await recorder.until(lambda: recorder.done == [again.id])
    assert recorder.seen == [(again.id, 1)]


async def test_a_message_too_large_for_its_dead_letter_is_stored_without_its_data(
    broker: NatsBroker,
) -> None:
    final = RecordingHandler()
    async with consuming(broker.consumer(final)) as consumer:
        await broker.publish("huge", b"x" * ((1 << 20) - 100))
        await dead_lettered(consumer, 1)
    letters = DeadLetters(broker.bus, stream=dead_letter_stream())
    (letter,) = await letters.list()
    assert letter.letter.truncated == (1 << 20) - 100
    with pytest.raises(Error, match="too many to be kept"):
        await letters.retry(letter.number)


async def test_a_publish_that_is_cancelled_anywhere_leaves_nothing_behind(
    broker: NatsBroker,
) -> None:
    count = 0

    async def publish() -> None:
        nonlocal count
        count += 1
        await broker.publish(f"c{count}")

    async def check() -> None:
        await broker.publish("check")

    assert await cancel_at_every_await(publish, check) > 0


async def test_opening_a_connection_that_is_refused_can_be_cancelled_anywhere() -> None:
    url = f"nats://127.0.0.1:{free_port()}"

    async def work() -> None:
        with suppress(QueueError):
            await NatsConnection.open([url], RecordingLog(), name="test")

    async def check() -> None:
        return

    for _ in range(5):  # what is refused in the moment of the cancellation is up to chance
        assert await cancel_at_every_await(work, check) > 1


async def test_a_connection_can_be_cancelled_anywhere(server: NatsServer) -> None:
    bus = NatsBus(server.url, RecordingLog())
    await bus.start()  # the server is up

    async def work() -> None:
        connection = await NatsConnection.open([server.url], RecordingLog(), name="test")
        await connection.close()

    assert await cancel_at_every_await(work, bus.ping) > 1
    await bus.stop()


async def test_a_bus_that_is_stopped_refuses(broker: NatsBroker) -> None:
    await broker.bus.stop()
    await broker.bus.stop()
    with pytest.raises(QueueError):
        await broker.publish("m1")
    with pytest.raises(QueueError):
        await broker.bus.ping()
    with pytest.raises(QueueError):
        await broker.bus.call_api("INFO", None, PubAck)


async def _publish_slowly(broker: NatsBroker, names: list[str]) -> None:
    for name in names:
        await broker.publish(name)
        await asyncio.sleep(0.001)


async def test_a_consumer_is_ready_as_soon_as_it_is_subscribed(broker: NatsBroker) -> None:
    idle = NatsConsumer(
        broker.bus,
        RecordingHandler(),
        broker.log,
        type=Thing,
        subscription=NatsSubscription(broker.stream.name, broker.stream.subjects, durable="maker"),
        settings=ConsumerSettings(heartbeat=60.0),
    )
    async with consuming(idle):
        await becomes(lambda: passes(idle.ready()))


async def test_a_stop_towards_a_frozen_server_ends(broker: NatsBroker, server: NatsServer) -> None:
    consumer = broker.consumer(RecordingHandler())
    await consumer.start()
    await becomes(lambda: passes(consumer.ready()))
    server.send(signal.SIGSTOP)
    async with asyncio.timeout(10):
        await consumer.stop()
        await broker.bus.stop()
