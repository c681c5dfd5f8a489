"""Coalescers: which calls share a batch, what each caller receives, and what a cancelled one leaves."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field

import pytest

from paceline.coalesce import Observer, ReadCoalescer, WriteCoalescer, WriteOutcomeUnknown
from paceline.coalesce.batching import Caller
from paceline.coalesce.observer import BatchStart
from paceline.concurrency.deadline import (
    DeadlineExceeded,
    SharedDeadline,
    fail_after,
    name_timeout,
    remaining,
)
from paceline.errors import AlreadyExists, Code, Error, NotFound, ValidationError, chain, wrap


@dataclass
class BatchFunction:
    """A batch function; each of its calls ends when the test says so, or at once if ``free``."""

    free: bool = False
    poison: frozenset[int] = frozenset()
    batches: list[list[int]] = field(default_factory=list[list[int]])
    done: list[int] = field(default_factory=list[int])
    endings: list[asyncio.Future[Exception | None]] = field(
        default_factory=list[asyncio.Future[Exception | None]]
    )

    async def run(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append([*items])
        if not self.free:
            ending: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
            self.endings.append(ending)
            failure = await ending
            if failure is not None:
                raise failure
        if self.poison & {*items}:
            raise ValidationError("item", "poison")
        self.done.extend(items)
        return [item * 10 for item in items]

    async def fetch(self, keys: Sequence[int]) -> dict[int, int | Exception]:
        return dict(zip(keys, await self.run(keys), strict=True))

    def finish(self, number: int = -1, failure: Exception | None = None) -> None:
        self.endings[number].set_result(failure)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def start_calls(call: Callable[[int], Awaitable[int]], *items: int) -> list[asyncio.Task[int]]:
    async def one(item: int) -> int:
        return await call(item)

    return [asyncio.create_task(one(item)) for item in items]


@pytest.fixture
def function() -> BatchFunction:
    return BatchFunction()


@pytest.fixture
def reads(function: BatchFunction) -> ReadCoalescer[int, int]:
    return ReadCoalescer(function.fetch, name="reads")


@pytest.fixture
def writes(function: BatchFunction) -> WriteCoalescer[int, int]:
    return WriteCoalescer(function.run, name="writes")


async def test_a_call_that_is_alone_runs_at_once(
    function: BatchFunction, reads: ReadCoalescer[int, int]
) -> None:
    function.free = True
    assert await reads.call(1) == 10
    assert await reads.call(2) == 20
    assert function.batches == [[1], [2]]


async def test_calls_of_one_round_of_the_loop_share_a_batch(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    function.free = True
    assert await asyncio.gather(*start_calls(writes.call, 1, 2, 3)) == [10, 20, 30]
    assert function.batches == [[1, 2, 3]]


async def test_while_a_batch_is_in_flight_later_calls_queue_for_the_next(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    first = start_calls(writes.call, 1)
    await settle()
    later = start_calls(writes.call, 2, 3)
    await settle()
    later += start_calls(writes.call, 4)
    await settle()
    assert function.batches == [[1]]
    function.finish()
    await settle()
    assert function.batches == [[1], [2, 3, 4]]
    function.finish()
    assert await asyncio.gather(*first, *later) == [10, 20, 30, 40]


async def test_equal_keys_that_wait_are_read_once(
    function: BatchFunction, reads: ReadCoalescer[int, int]
) -> None:
    function.free = True
    assert await asyncio.gather(*start_calls(reads.call, 7, 8, 7, 7)) == [70, 80, 70, 70]
    assert function.batches == [[7, 8]]


async def test_equal_writes_are_kept_apart(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    function.free = True
    assert await asyncio.gather(*start_calls(writes.call, 7, 8, 7)) == [70, 80, 70]
    assert function.batches == [[7, 8, 7]]


async def test_a_read_never_joins_a_batch_that_has_begun(
    function: BatchFunction, reads: ReadCoalescer[int, int]
) -> None:
    early = start_calls(reads.call, 7)
    await settle()
    late = start_calls(reads.call, 7)
    await settle()
    function.finish()
    await settle()
    assert function.batches == [[7], [7]], (
        "a write between the two calls must be seen by the second"
    )
    function.finish()
    await asyncio.gather(*early, *late)


async def test_no_more_batches_than_allowed_are_in_flight(function: BatchFunction) -> None:
    writes = WriteCoalescer(function.run, name="writes", max_in_flight=2)
    tasks: list[asyncio.Task[int]] = []
    for item in range(4):
        tasks += start_calls(writes.call, item)
        await settle()
    assert function.batches == [[0], [1]]
    assert writes.stats.in_flight == 2
    assert writes.stats.waiting == 2
    function.finish(1)
    await settle()
    assert function.batches == [[0], [1], [2, 3]]
    function.finish(0)
    function.finish(2)
    assert await asyncio.gather(*tasks) == [0, 10, 20, 30]


async def test_a_batch_is_no_larger_than_it_may_be(function: BatchFunction) -> None:
    function.free = True
    writes = WriteCoalescer(function.run, name="writes", max_batch=2)
    await asyncio.gather(*start_calls(writes.call, 1, 2, 3, 4, 5))
    assert function.batches == [[1, 2], [3, 4], [5]]


async def test_one_call_more_than_may_wait_is_refused_at_once_and_the_others_go_on(
    function: BatchFunction,
) -> None:
    reads = ReadCoalescer(function.fetch, name="reads", max_waiting=2)
    first = start_calls(reads.call, 1)
    await settle()
    waiting = start_calls(reads.call, 2, 2)
    await settle()
    with pytest.raises(Error, match="too many calls wait for reads") as caught:
        await reads.call(2)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert reads.stats.refused == 1
    function.finish()
    await settle()
    function.finish()
    assert await asyncio.gather(*first, *waiting) == [10, 20, 20]


async def test_a_cancelled_call_makes_room_in_the_queue(function: BatchFunction) -> None:
    writes = WriteCoalescer(function.run, name="writes", max_waiting=1)
    first = start_calls(writes.call, 1)
    await settle()
    (cancelled,) = start_calls(writes.call, 2)
    await settle()
    cancelled.cancel()
    await settle()
    other = start_calls(writes.call, 3)
    await settle()
    function.finish()
    await settle()
    function.finish()
    assert await asyncio.gather(*first, *other) == [10, 30]
    assert function.done == [1, 3]


async def test_each_caller_receives_its_own_error() -> None:
    async def some(items: Sequence[int]) -> list[int | Exception]:
        return [item if item % 2 else AlreadyExists(f"{item}") for item in items]

    writes = WriteCoalescer(some, name="writes")
    results = await asyncio.gather(*start_calls(writes.call, 1, 2, 3, 4), return_exceptions=True)
    assert results[::2] == [1, 3]
    assert [str(error) for error in results[1::2]] == ["2", "4"]


async def test_a_key_that_was_not_found_is_not_found() -> None:
    async def nothing(_keys: Sequence[int]) -> dict[int, int | Exception]:
        return {}

    with pytest.raises(NotFound):
        await ReadCoalescer(nothing, name="reads").call(1)


@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("size", [1, 2, 5, 8])
async def test_a_poison_item_fails_alone(kind: str, size: int) -> None:
    for poison in range(size):
        function = BatchFunction(free=True, poison=frozenset({poison}))
        coalescer: ReadCoalescer[int, int] | WriteCoalescer[int, int] = (
            ReadCoalescer(function.fetch, name="c") if kind == "read"
            else WriteCoalescer(function.run, name="c")
        )  # fmt: skip
        results = await asyncio.gather(
            *start_calls(coalescer.call, *range(size)), return_exceptions=True
        )
        assert isinstance(results.pop(poison), ValidationError)
        healthy = [item for item in range(size) if item != poison]
        assert results == [item * 10 for item in healthy]
        assert function.done == healthy, "each once, in order of arrival"


async def test_an_error_that_no_item_has_caused_is_not_tried_again(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    tasks = start_calls(writes.call, 1, 2, 3)
    await settle()
    function.finish(failure=Error(Code.UNAVAILABLE, "away"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(error) for error in results] == ["away"] * 3
    assert function.batches == [[1, 2, 3]]


async def test_a_write_that_failed_by_a_bug_is_not_repeated_for_it_may_have_been_done(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    tasks = start_calls(writes.call, 1, 2)
    await settle()
    function.finish(failure=KeyError("bug"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in results] == [KeyError, KeyError]
    assert function.batches == [[1, 2]]


async def test_one_error_for_many_is_a_separate_one_for_each() -> None:
    async def refuse(_items: Sequence[int]) -> list[int | Exception]:
        raise Error(Code.UNAVAILABLE, "away") from OSError("connection lost")

    writes = WriteCoalescer(refuse, name="writes")

    async def one(item: int) -> str:
        try:
            with wrap("call {}", item):
                await writes.call(item)
        except Error as exc:
            return chain(exc)
        return "no error"

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in (1, 2)]
    assert [task.result() for task in tasks] == [
        "call 1: away: connection lost",
        "call 2: away: connection lost",
    ]


async def test_too_few_results_are_a_bug_that_fails_every_call_and_is_not_repeated() -> None:
    applied: list[int] = []

    async def short(items: Sequence[int]) -> list[int | Exception]:
        applied.extend(items)
        return []

    writes = WriteCoalescer(short, name="writes")
    results = await asyncio.gather(*start_calls(writes.call, 1, 2), return_exceptions=True)
    assert [str(error) for error in results] == ["writes: 0 results for 2 items"] * 2
    assert applied == [1, 2]


async def test_a_write_cancelled_before_its_batch_begins_is_not_done(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    first = start_calls(writes.call, 1)
    await settle()
    cancelled, stays = start_calls(writes.call, 2, 3)
    await settle()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await cancelled
    assert caught.value.__notes__ == ["nothing was done: the change was still waiting for its turn"]
    function.finish()
    await settle()
    function.finish()
    await asyncio.gather(*first, stays)
    assert function.done == [1, 3]


async def test_a_write_cancelled_after_its_batch_has_begun_is_still_done(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    cancelled, stays = start_calls(writes.call, 1, 2)
    await settle()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await cancelled
    assert "outcome unknown" in caught.value.__notes__[0]
    function.finish()
    assert await stays == 20
    assert function.done == [1, 2]


async def test_a_batch_of_writes_goes_on_when_its_only_caller_is_cancelled(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    (cancelled,) = start_calls(writes.call, 1)
    await settle()
    cancelled.cancel()
    await settle()
    function.finish()
    await writes.stop()
    assert function.done == [1]


async def test_a_batch_of_reads_is_cancelled_with_its_last_caller(
    function: BatchFunction, reads: ReadCoalescer[int, int]
) -> None:
    one, two = start_calls(reads.call, 1, 2)
    await settle()
    one.cancel()
    await settle()
    assert reads.stats.in_flight == 1
    assert not function.endings[0].done()
    two.cancel()
    await settle()
    assert reads.stats.in_flight == 0
    assert function.endings[0].cancelled()


async def after_one_alone(function: BatchFunction, reads: ReadCoalescer[int, int]) -> None:
    """Make the last batch one that served a single call."""
    function.free = True
    await reads.call(0)
    function.free = False
    function.batches.clear()


async def test_a_read_after_one_that_was_alone_runs_in_the_task_of_its_caller() -> None:
    tasks: list[asyncio.Task[object] | None] = []

    async def fetch(keys: Sequence[int]) -> dict[int, int | Exception]:
        tasks.append(asyncio.current_task())
        return {key: key * 10 for key in keys}

    reads = ReadCoalescer(fetch, name="reads")
    assert [await reads.call(1), await reads.call(2)] == [10, 20]
    assert [task is asyncio.current_task() for task in tasks] == [False, True]


async def test_reads_that_come_while_one_runs_alone_share_the_next_batch(
    function: BatchFunction, reads: ReadCoalescer[int, int]
) -> None:
    await after_one_alone(function, reads)
    calls = start_calls(reads.call, 1, 2, 3)
    await settle()
    assert function.batches == [[1]]
    assert (reads.stats.in_flight, reads.stats.waiting) == (1, 2)
    function.finish()
    await settle()
    assert function.batches == [[1], [2, 3]]
    function.finish()
    assert await asyncio.gather(*calls) == [10, 20, 30]
    calls = start_calls(reads.call, 4, 5)
    await settle()
    assert function.batches[2:] == [[4, 5]], "after a batch of several nothing runs alone"
    function.finish()
    await asyncio.gather(*calls)


async def test_a_read_that_runs_alone_is_cancelled_with_its_caller(
    function: BatchFunction, reads: ReadCoalescer[int, int]
) -> None:
    await after_one_alone(function, reads)
    first, second = start_calls(reads.call, 1, 2)
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    assert function.endings[0].cancelled()
    assert function.batches == [[1], [2]]
    function.finish()
    assert await second == 20


async def test_a_cancelled_stop_ends_a_read_that_runs_alone_and_not_its_caller(
    function: BatchFunction, reads: ReadCoalescer[int, int]
) -> None:
    await after_one_alone(function, reads)
    lived_on = asyncio.Event()

    async def caller() -> None:
        with pytest.raises(Error, match="reads was cut off") as caught:
            await reads.call(1)
        assert caught.value.code is Code.UNAVAILABLE
        await asyncio.sleep(0)
        lived_on.set()

    task = asyncio.create_task(caller())
    await settle()
    with pytest.raises(Error, match="took longer"):
        async with fail_after(0.01, "stop"):
            await reads.stop()
    await task
    assert lived_on.is_set()
    assert function.endings[0].cancelled()
    assert reads.stats.in_flight == 0


async def test_past_its_deadline_a_read_that_runs_alone_is_named_as_any_other(
    function: BatchFunction, reads: ReadCoalescer[int, int]
) -> None:
    async def fetch(keys: Sequence[int]) -> dict[int, int | Exception]:
        try:
            return await function.fetch(keys)
        except asyncio.CancelledError:
            name_timeout("a detail")
            raise

    reads = ReadCoalescer(fetch, name="reads")
    await after_one_alone(function, reads)
    with pytest.raises(DeadlineExceeded, match=r"reads exceeded the 0\.01s limit of the request"):
        async with fail_after(0.01, "the request"):
            await reads.call(1)


async def test_a_read_that_runs_alone_fails_as_any_other() -> None:
    async def fetch(keys: Sequence[int]) -> dict[int, int | Exception]:
        if 3 in keys:
            raise Error(Code.UNAVAILABLE, "away")
        return {key: AlreadyExists() for key in keys if key == 1}

    recorded = RecordingObserver()
    reads = ReadCoalescer(fetch, name="reads", observer=recorded)
    for key, kind in {0: NotFound, 1: AlreadyExists, 2: NotFound, 3: Error}.items():
        with pytest.raises(kind):
            await reads.call(key)
    assert [type(ended) for ended in recorded.ended[1:]] == [type(None), type(None), Error]
    assert [start.items for start in recorded.starts] == [1, 1, 1, 1]
    assert (reads.stats.calls, reads.stats.batches, reads.stats.in_flight) == (4, 4, 0)


async def test_a_caller_cancelled_in_the_moment_of_its_result_is_still_cancelled(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    (task,) = start_calls(writes.call, 1)
    await settle()
    function.finish(failure=AlreadyExists())
    while function.batches and not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()


async def test_past_its_deadline_a_write_under_way_says_that_the_outcome_is_unknown(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    patient = start_calls(writes.call, 2)
    with pytest.raises(WriteOutcomeUnknown, match="outcome unknown") as caught:
        async with fail_after(0.01, "the request"):
            await writes.call(1)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    function.finish()
    assert await patient[0] == 20
    assert sorted(function.done) == [1, 2]


async def test_past_its_deadline_a_write_not_begun_says_that_nothing_was_done(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    deadline = SharedDeadline(0.01, "the request")
    first = start_calls(writes.call, 1)
    await settle()
    with pytest.raises(Error, match="nothing was done") as caught, deadline.scope():
        await writes.call(2)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    function.finish()
    await asyncio.gather(*first)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert function.done == [1]


@dataclass(frozen=True)
class Bounds:
    id: str
    deadlines: tuple[float | None, ...]
    at_least: float | None


@pytest.mark.parametrize(
    "case",
    [
        Bounds("the latest counts", (5.0, 50.0, 20.0), 49.0),
        Bounds("one without a deadline has all the time", (5.0, None), None),
        Bounds("none has one", (None, None), None),
    ],
    ids=lambda case: case.id,
)
async def test_a_batch_has_the_latest_of_its_callers_deadlines(case: Bounds) -> None:
    seen: list[float | None] = []

    async def look(items: Sequence[int]) -> list[int | Exception]:
        seen.append(remaining())
        return [*items]

    writes = WriteCoalescer(look, name="writes")

    async def one(seconds: float | None) -> None:
        if seconds is None:
            await writes.call(0)
        else:
            async with fail_after(seconds, "the request"):
                await writes.call(0)

    await asyncio.gather(*(one(seconds) for seconds in case.deadlines))
    (left,) = seen
    if case.at_least is None:
        assert left is None
    else:
        assert left is not None
        assert case.at_least < left <= case.at_least + 1


async def test_a_batch_that_outlives_every_deadline_is_cancelled(function: BatchFunction) -> None:
    writes = WriteCoalescer(function.run, name="writes")

    async def one(item: int) -> None:
        async with fail_after(0.01, "the request"):
            await writes.call(item)

    results = await asyncio.gather(one(1), one(2), return_exceptions=True)
    assert {type(error) for error in results} == {WriteOutcomeUnknown}
    await writes.stop()
    assert function.endings[0].cancelled()


@pytest.mark.parametrize("deadlines", [(0.01, 0.05), (0.05, 0.01)], ids=["longer", "shorter"])
async def test_each_batch_is_cancelled_at_its_own_deadline_though_one_timer_serves_them_all(
    function: BatchFunction, deadlines: tuple[float, float]
) -> None:
    writes = WriteCoalescer(function.run, name="writes", max_in_flight=2)

    async def one(item: int, seconds: float) -> None:
        async with fail_after(seconds, "the request"):
            await writes.call(item)

    first = asyncio.create_task(one(1, deadlines[0]))
    await settle()
    second = asyncio.create_task(one(2, deadlines[1]))
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert {type(error) for error in results} == {WriteOutcomeUnknown}
    await writes.stop()
    assert function.batches == [[1], [2]]
    assert [ending.cancelled() for ending in function.endings] == [True, True]


async def test_stopping_waits_for_all_calls_and_refuses_new_ones(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    tasks = start_calls(writes.call, 1)
    await settle()
    tasks += start_calls(writes.call, 2)
    await settle()
    stopping = asyncio.create_task(writes.stop())
    await settle()
    with pytest.raises(Error, match="writes is shutting down") as caught:
        await writes.call(3)
    assert caught.value.code is Code.UNAVAILABLE
    function.finish()
    await settle()
    assert not stopping.done()
    function.finish()
    await stopping
    assert await asyncio.gather(*tasks) == [10, 20]
    await writes.start()
    function.free = True
    assert await writes.call(4) == 40


async def test_a_cancelled_stop_leaves_no_call_waiting(
    function: BatchFunction, writes: WriteCoalescer[int, int]
) -> None:
    under_way = start_calls(writes.call, 1)
    await settle()
    waiting = start_calls(writes.call, 2)
    await settle()
    with pytest.raises(Error, match="took longer"):
        async with fail_after(0.01, "stop"):
            await writes.stop()
    unknown, refused = await asyncio.gather(*under_way, *waiting, return_exceptions=True)
    assert isinstance(unknown, WriteOutcomeUnknown)
    assert isinstance(refused, Error)
    assert refused.code is Code.UNAVAILABLE
    assert writes.stats.in_flight == 0


async def test_a_stop_without_calls_is_over_at_once(
    reads: ReadCoalescer[int, int],
) -> None:
    await reads.stop()
    await reads.stop()


class RecordingObserver:
    """Keeps the start of each batch, and how it ended."""

    def __init__(self) -> None:
        self.callers = 0
        self.starts: list[BatchStart] = []
        self.ended: list[BaseException | None] = []

    def capture(self) -> object:
        self.callers += 1
        return self.callers

    @contextmanager
    def batch(self, start: BatchStart) -> Generator[None]:
        self.starts.append(start)
        try:
            yield
        except BaseException as exc:
            self.ended.append(exc)
            raise
        self.ended.append(None)


async def test_an_observer_sees_each_batch_with_what_it_captured_of_every_caller(
    function: BatchFunction,
) -> None:
    recorded = RecordingObserver()
    observer: Observer = recorded
    reads = ReadCoalescer(function.fetch, name="reads", observer=observer)
    function.free = True
    await asyncio.gather(*start_calls(reads.call, 1, 2, 1))
    (start,) = recorded.starts
    assert start.name == "reads"
    assert start.items == 2
    assert sorted(start.captured, key=repr) == [1, 2, 3]
    assert len(start.waited) == 3
    assert min(start.waited) >= 0
    assert recorded.ended == [None]


async def test_stats_count_what_happened(function: BatchFunction) -> None:
    reads = ReadCoalescer(function.fetch, name="reads")
    function.free = True
    await asyncio.gather(*start_calls(reads.call, 1, 2, 1))
    await reads.call(3)
    await settle()
    stats = reads.stats
    assert (stats.calls, stats.batches, stats.items, stats.largest_batch) == (4, 2, 3, 2)
    assert (stats.waiting, stats.in_flight) == (0, 0)


@pytest.mark.parametrize("wrong", [{"max_in_flight": 0}, {"max_batch": 0}, {"max_waiting": 0}])
async def test_settings_that_could_never_work_are_refused(
    function: BatchFunction, wrong: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        WriteCoalescer(function.run, name="writes", **wrong)  # type: ignore[arg-type]


@asynccontextmanager
async def bounded(seconds: float) -> AsyncGenerator[None]:
    async with asyncio.timeout(seconds):
        yield


@pytest.mark.parametrize("max_in_flight", [1, 3])
@pytest.mark.parametrize("pauses", [0, 1, 2])
async def test_no_wake_up_is_lost_when_calls_arrive_as_trips_end(
    max_in_flight: int, pauses: int
) -> None:
    """The classic stall: a call that arrives while the last batch is just ending."""

    async def echo(items: Sequence[int]) -> list[int | Exception]:
        for _ in range(pauses):
            await asyncio.sleep(0)
        return [*items]

    writes = WriteCoalescer(echo, name="writes", max_in_flight=max_in_flight, max_batch=3)

    async def client(number: int) -> None:
        for turn in range(200):
            assert await writes.call(number * 1000 + turn) == number * 1000 + turn
            for _ in range((number * 7 + turn) % 4):
                await asyncio.sleep(0)

    async with bounded(30), asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(client(number))
    assert writes.stats.calls == 4000
    assert writes.stats.waiting == 0


async def test_a_batch_cancelled_before_it_began_frees_its_place() -> None:
    function = BatchFunction(free=True)
    coalescer = ReadCoalescer(function.fetch, name="reads")
    (call,) = start_calls(coalescer.call, 1)
    await asyncio.sleep(0)  # it is queued now, and its batch scheduled
    stopping = asyncio.create_task(coalescer.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping, call])
    await settle()
    await coalescer.start()
    async with asyncio.timeout(5):
        assert await coalescer.call(2) == 20
    await coalescer.stop()


async def test_a_batch_whose_callers_were_all_cancelled_before_it_began_runs_nothing() -> None:
    batches: list[Sequence[int]] = []

    async def fetch(keys: Sequence[int]) -> dict[int, int]:
        batches.append(keys)
        if keys == [1]:  # it leaves in the round in which the next batch begins, before it
            leaving.cancel()
        return {key: key * 10 for key in keys}

    coalescer = ReadCoalescer(fetch, name="reads", max_batch=1)
    staying, leaving = start_calls(coalescer.call, 1, 2)
    await asyncio.wait([staying, leaving])
    assert staying.result() == 10
    assert leaving.cancelled()
    assert await coalescer.call(3) == 30
    await coalescer.stop()
    assert (batches, coalescer.stats.batches, coalescer.stats.in_flight) == ([[1], [3]], 2, 0)


@pytest.mark.parametrize("with_deadline", [False, True], ids=["no deadline", "deadline"])
@pytest.mark.parametrize("kind", ["read", "write"])
async def test_calls_leave_nothing_for_the_garbage_collector(
    kind: str, *, with_deadline: bool
) -> None:
    function = BatchFunction(free=True)
    reads, writes = (
        ReadCoalescer(function.fetch, name="reads"),
        WriteCoalescer(function.run, name="writes"),
    )
    call = reads.call if kind == "read" else writes.call
    deadline = SharedDeadline(60, "the calls")

    async def some_calls() -> None:
        with deadline.scope() if with_deadline else nullcontext():
            await asyncio.gather(call(1), call(2), call(3))
            await call(4)
            await call(5)  # it runs alone, if it is a read
        await settle()

    await some_calls()
    gc.freeze()  # what is there already takes long to look at
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(10):
            await some_calls()
        gc.collect()
        # Only ours: what other tests of this process left behind may be found just now, too.
        modules = {Caller.__module__, SharedDeadline.__module__}
        ours = [one for one in gc.garbage if type(one).__module__ in modules]
        assert ours == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        # It stays frozen: conftest.py has frozen what was collected, and unfreezing is for all.
        gc.enable()
    await reads.stop()
    await writes.stop()
