"""What every consumer guarantees, on the fake broker and on the real ones."""

import asyncio
from collections.abc import Sequence

import pytest
from consuming import (
    Broker,
    RecordingHandler,
    Thing,
    becomes,
    consumer_settings,
    consuming,
    dead_lettered,
    passes,
)

from paceline.concurrency import name_timeout
from paceline.errors import Code, Error
from paceline.messaging import Incoming


def failing(*names: str, code: Code = Code.INTERNAL) -> RecordingHandler:
    return RecordingHandler(lambda item: Error(code, "no") if item.id in names else None)


def raising(exc: BaseException, *names: str) -> RecordingHandler:
    async def before(items: Sequence[Incoming[Thing]]) -> None:
        if any(item.id in names for item in items):
            raise exc

    return RecordingHandler(before=before)


async def test_each_message_is_handled_once(broker: Broker) -> None:
    names = [f"m{n}" for n in range(300)]
    for name in names:
        await broker.publish(name)
    recorder = RecordingHandler()
    async with consuming(broker.consumer(recorder)) as consumer:
        await recorder.until(lambda: len(recorder.done) >= len(names))
        await becomes(lambda: passes(consumer.ready()))
    assert sorted(recorder.done) == sorted(names)
    assert consumer.stats.acknowledged == len(names)
    assert len(recorder.sizes) < len(names), "many are in one batch"


async def test_a_failed_message_is_tried_again_with_the_next_attempt(broker: Broker) -> None:
    recorder = RecordingHandler(
        lambda item: Error(Code.INTERNAL, "no") if item.attempt < 3 else None
    )
    async with consuming(broker.consumer(recorder)):
        await broker.publish("m1")
        await recorder.until(lambda: bool(recorder.done))
    assert recorder.seen == [("m1", 1), ("m1", 2), ("m1", 3)]
    assert await broker.dead() == []


async def test_after_five_attempts_a_message_is_dead_lettered(broker: Broker) -> None:
    recorder = failing("m1")
    async with consuming(broker.consumer(recorder)) as consumer:
        await broker.publish("m1")
        await broker.publish("m2")
        await dead_lettered(consumer, 1)
    assert [attempt for name, attempt in recorder.seen if name == "m1"] == [1, 2, 3, 4, 5]
    assert await broker.dead() == [("m1", "internal", 5)]
    assert recorder.done == ["m2"]


async def test_a_final_error_dead_letters_at_once(broker: Broker) -> None:
    recorder = failing("m1", code=Code.INVALID_ARGUMENT)
    async with consuming(broker.consumer(recorder)) as consumer:
        await broker.publish("m1")
        await dead_lettered(consumer, 1)
    assert recorder.seen == [("m1", 1)]
    assert await broker.dead() == [("m1", "invalid-argument", 1)]


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b'{"n": "one"}', b"[" * 100_000, b'{"n": 1' * 3, b'{"n": 1, "n": 2}'],
    ids=["empty", "not-utf-8", "wrong-type", "deep", "broken", "a key twice"],
)
async def test_what_cannot_be_decoded_is_dead_lettered_at_once(broker: Broker, data: bytes) -> None:
    recorder = RecordingHandler()
    async with consuming(broker.consumer(recorder)) as consumer:
        await broker.publish("bad", data)
        await broker.publish("good1")
        await recorder.until(lambda: bool(recorder.done))
        await dead_lettered(consumer, 1)
    assert await broker.dead() == [("bad", "undecodable", 1)]
    assert recorder.seen == [("good1", 1)]


async def test_a_message_that_makes_its_whole_batch_raise_fails_alone(broker: Broker) -> None:
    names = [f"m{n}" for n in range(40)]
    for name in names:
        await broker.publish(name)
    recorder = raising(ValueError("a bug"), "m17")
    async with consuming(
        broker.consumer(recorder, consumer_settings(max_attempts=2, concurrency=1))
    ) as consumer:
        await dead_lettered(consumer, 1)
        await recorder.until(lambda: len(recorder.done) == len(names) - 1)
    assert await broker.dead() == [("m17", "ValueError", 2)]
    assert "m17" not in recorder.done


async def test_messages_of_one_key_stay_in_order(broker: Broker) -> None:
    names = [f"{'abc'[n % 3]}{n}" for n in range(120)]
    for name in names:
        await broker.publish(name, key=name[0])
    recorder = RecordingHandler()
    async with consuming(broker.consumer(recorder, consumer_settings(concurrency=4, batch=8))):
        await recorder.until(lambda: len(recorder.done) == len(names))
    for key in "abc":
        assert [n for n in recorder.done if n[0] == key] == [n for n in names if n[0] == key]


async def test_while_a_dependency_is_down_nothing_counts_as_an_attempt(broker: Broker) -> None:
    down = True
    calls = 0

    async def before(items: Sequence[Incoming[Thing]]) -> None:
        nonlocal calls
        calls += 1
        if down:
            raise Error(Code.UNAVAILABLE, "no database")

    recorder = RecordingHandler(before=before)
    async with consuming(broker.consumer(recorder, consumer_settings(max_attempts=1))) as consumer:
        for n in range(5):
            await broker.publish(f"m{n}")
        await recorder.until(lambda: calls > 3)
        with pytest.raises(Error, match="cannot handle"):
            await consumer.ready()
        down = False
        await recorder.until(lambda: len(recorder.done) == 5)
        await becomes(lambda: passes(consumer.ready()))
    assert {attempt for _, attempt in recorder.seen} == {1}
    assert await broker.dead() == []


def _cut_off() -> Error:
    return Error(Code.DEADLINE_EXCEEDED, "the database took too long")


async def test_a_query_that_is_cut_off_counts_as_no_attempt_while_nothing_else_succeeds(
    broker: Broker,
) -> None:
    locked = True
    calls = 0

    async def before(items: Sequence[Incoming[Thing]]) -> None:
        nonlocal calls
        calls += 1
        if locked:
            raise _cut_off()

    recorder = RecordingHandler(before=before)
    async with consuming(broker.consumer(recorder, consumer_settings(max_attempts=2))) as consumer:
        for n in range(5):
            await broker.publish(f"m{n}")
        await recorder.until(lambda: calls > 9)
        with pytest.raises(Error, match="cannot handle"):
            await consumer.ready()
        locked = False
        await recorder.until(lambda: len(recorder.done) == 5)
        await becomes(lambda: passes(consumer.ready()))
    assert {attempt for _, attempt in recorder.seen} == {1}
    assert await broker.dead() == []


async def test_a_handler_that_is_cut_off_in_a_query_counts_as_no_attempt(broker: Broker) -> None:
    locked = True
    calls = 0

    async def before(items: Sequence[Incoming[Thing]]) -> None:
        nonlocal calls
        calls += 1
        try:
            if locked:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            name_timeout("a database query")
            raise

    recorder = RecordingHandler(before=before)
    settings = consumer_settings(max_attempts=1, handler_timeout=0.1)
    async with consuming(broker.consumer(recorder, settings)):
        await broker.publish("m1")
        await recorder.until(lambda: calls > 3)
        locked = False
        await recorder.until(lambda: recorder.done == ["m1"])
    assert await broker.dead() == []


async def test_a_message_whose_own_query_is_cut_off_fails_alone_while_others_succeed(
    broker: Broker,
) -> None:
    names = [f"m{n}" for n in range(20)]
    recorder = raising(_cut_off(), "m17")
    async with consuming(broker.consumer(recorder, consumer_settings(max_attempts=2))) as consumer:
        for name in names:
            await broker.publish(name)

        async def it_is_dead_after_one_more() -> bool:
            await broker.publish(f"next{len(recorder.done)}")
            return consumer.stats.dead_lettered == 1

        await becomes(it_is_dead_after_one_more)
        await recorder.until(lambda: {*names} - {*recorder.done} == {"m17"})
        await becomes(lambda: passes(consumer.ready()))
    assert await broker.dead() == [("m17", "deadline-exceeded", 2)]


async def test_a_stop_in_the_middle_requeues_and_uses_no_attempt(broker: Broker) -> None:
    async def hang(items: Sequence[Incoming[Thing]]) -> None:
        await asyncio.Event().wait()

    hanging = RecordingHandler(before=hang)
    consumer = broker.consumer(
        hanging, consumer_settings(stop_timeout=0.05, batch=2, concurrency=1)
    )
    for n in range(8):
        await broker.publish(f"m{n}")
    await consumer.start()
    await hanging.until(lambda: bool(hanging.seen))
    with pytest.raises(Error, match="cut off"):
        await consumer.stop()
    recorder = RecordingHandler()
    async with consuming(broker.consumer(recorder)):
        await recorder.until(lambda: len(recorder.done) == 8)
    assert {attempt for _, attempt in recorder.seen} == {1}


async def test_a_stop_waits_for_the_batch_in_hand(broker: Broker) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def hold(items: Sequence[Incoming[Thing]]) -> None:
        entered.set()
        await release.wait()

    recorder = RecordingHandler(before=hold)
    consumer = broker.consumer(recorder)
    await broker.publish("m1")
    await consumer.start()
    await entered.wait()
    stopping = asyncio.create_task(consumer.stop())
    asyncio.get_running_loop().call_later(0.05, release.set)
    await stopping
    assert recorder.done == ["m1"]
    after = RecordingHandler()
    async with consuming(broker.consumer(after)):
        await broker.publish("m2")
        await after.until(lambda: "m2" in after.done)
    assert after.done == ["m2"]


async def test_long_work_is_extended(broker: Broker) -> None:
    async def work(items: Sequence[Incoming[Thing]]) -> None:
        await asyncio.sleep(2.0)

    recorder = RecordingHandler(before=work)
    async with consuming(broker.consumer(recorder, ack_wait=0.8)):
        await broker.publish("m1")
        await recorder.until(lambda: bool(recorder.done))
    assert recorder.seen == [("m1", 1)], "it was not delivered again meanwhile"


async def test_a_handler_that_hangs_fails_at_its_deadline(broker: Broker) -> None:
    async def hang(items: Sequence[Incoming[Thing]]) -> None:
        if items[0].attempt == 1:
            await asyncio.Event().wait()

    recorder = RecordingHandler(before=hang)
    async with consuming(broker.consumer(recorder, consumer_settings(handler_timeout=0.1))):
        await broker.publish("m1")
        await recorder.until(lambda: bool(recorder.done))
    assert recorder.seen == [("m1", 1), ("m1", 2)]


async def test_a_handler_that_is_cancelled_has_failed(broker: Broker) -> None:
    recorder = raising(asyncio.CancelledError(), "m1")
    async with consuming(broker.consumer(recorder, consumer_settings(max_attempts=2))) as consumer:
        await broker.publish("m1")
        await dead_lettered(consumer, 1)
    assert await broker.dead() == [("m1", "cancelled", 2)]


async def test_a_wrong_number_of_outcomes_is_a_failure(broker: Broker) -> None:
    calls = 0

    async def handler(items: Sequence[Incoming[Thing]]) -> Sequence[Exception | None]:
        nonlocal calls
        calls += 1
        return []

    async with consuming(broker.consumer(handler, consumer_settings(max_attempts=2))) as consumer:
        await broker.publish("m1")
        await dead_lettered(consumer, 1)
    assert calls == 2


async def test_start_and_stop_may_be_repeated(broker: Broker) -> None:
    recorder = RecordingHandler()
    consumer = broker.consumer(recorder)
    await consumer.stop()
    for n in range(3):
        await consumer.start()
        await broker.publish(f"m{n}")
        await recorder.until(lambda number=n: f"m{number}" in recorder.done)  # type: ignore[misc]
        await consumer.stop()
        await consumer.stop()
    assert recorder.done == ["m0", "m1", "m2"]
