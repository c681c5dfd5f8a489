"""Coalescers: who travels together, who hears what, and what a caller who leaves leaves behind."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field

import pytest

from paceline.coalesce import Observer, ReadCoalescer, WriteCoalescer, WriteOutcomeUnknown
from paceline.coalesce.batching import Caller
from paceline.coalesce.observer import BatchStart
from paceline.concurrency.deadline import SharedDeadline, fail_after, remaining
from paceline.errors import AlreadyExists, Code, Error, NotFound, ValidationError, chain, wrap


@dataclass
class Ferry:
    """A batch function whose trips end when the test says so."""

    free: bool = False
    poison: frozenset[int] = frozenset()
    trips: list[list[int]] = field(default_factory=list[list[int]])
    done: list[int] = field(default_factory=list[int])
    doors: list[asyncio.Future[Exception | None]] = field(
        default_factory=list[asyncio.Future[Exception | None]]
    )

    async def carry(self, items: Sequence[int]) -> list[int | Exception]:
        self.trips.append([*items])
        if not self.free:
            door: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
            self.doors.append(door)
            failure = await door
            if failure is not None:
                raise failure
        if self.poison & {*items}:
            raise ValidationError("item", "poison")
        self.done.extend(items)
        return [item * 10 for item in items]

    async def fetch(self, keys: Sequence[int]) -> dict[int, int | Exception]:
        return dict(zip(keys, await self.carry(keys), strict=True))

    def arrive(self, number: int = -1, failure: Exception | None = None) -> None:
        self.doors[number].set_result(failure)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def calling(call: Callable[[int], Awaitable[int]], *items: int) -> list[asyncio.Task[int]]:
    async def one(item: int) -> int:
        return await call(item)

    return [asyncio.create_task(one(item)) for item in items]


@pytest.fixture
def ferry() -> Ferry:
    return Ferry()


@pytest.fixture
def reads(ferry: Ferry) -> ReadCoalescer[int, int]:
    return ReadCoalescer(ferry.fetch, name="reads")


@pytest.fixture
def writes(ferry: Ferry) -> WriteCoalescer[int, int]:
    return WriteCoalescer(ferry.carry, name="writes")


async def test_a_call_with_nobody_beside_it_goes_at_once(
    ferry: Ferry, reads: ReadCoalescer[int, int]
) -> None:
    ferry.free = True
    assert await reads.call(1) == 10
    assert await reads.call(2) == 20
    assert ferry.trips == [[1], [2]]


async def test_calls_of_one_round_of_the_loop_go_together(
    ferry: Ferry, writes: WriteCoalescer[int, int]
) -> None:
    ferry.free = True
    assert await asyncio.gather(*calling(writes.call, 1, 2, 3)) == [10, 20, 30]
    assert ferry.trips == [[1, 2, 3]]


async def test_while_a_trip_is_out_later_calls_gather_for_the_next(
    ferry: Ferry, writes: WriteCoalescer[int, int]
) -> None:
    first = calling(writes.call, 1)
    await settle()
    later = calling(writes.call, 2, 3)
    await settle()
    later += calling(writes.call, 4)
    await settle()
    assert ferry.trips == [[1]]
    ferry.arrive()
    await settle()
    assert ferry.trips == [[1], [2, 3, 4]]
    ferry.arrive()
    assert await asyncio.gather(*first, *later) == [10, 20, 30, 40]


async def test_equal_keys_that_wait_are_read_once(
    ferry: Ferry, reads: ReadCoalescer[int, int]
) -> None:
    ferry.free = True
    assert await asyncio.gather(*calling(reads.call, 7, 8, 7, 7)) == [70, 80, 70, 70]
    assert ferry.trips == [[7, 8]]


async def test_equal_writes_are_kept_apart(ferry: Ferry, writes: WriteCoalescer[int, int]) -> None:
    ferry.free = True
    assert await asyncio.gather(*calling(writes.call, 7, 8, 7)) == [70, 80, 70]
    assert ferry.trips == [[7, 8, 7]]


async def test_a_read_never_joins_a_trip_that_has_departed(
    ferry: Ferry, reads: ReadCoalescer[int, int]
) -> None:
    early = calling(reads.call, 7)
    await settle()
    late = calling(reads.call, 7)
    await settle()
    ferry.arrive()
    await settle()
    assert ferry.trips == [[7], [7]], "a write between the two calls must be seen by the second"
    ferry.arrive()
    await asyncio.gather(*early, *late)


async def test_lanes_are_trips_out_at_once(ferry: Ferry) -> None:
    writes = WriteCoalescer(ferry.carry, name="writes", lanes=2)
    tasks: list[asyncio.Task[int]] = []
    for item in range(4):
        tasks += calling(writes.call, item)
        await settle()
    assert ferry.trips == [[0], [1]]
    assert writes.stats.out == 2
    assert writes.stats.waiting == 2
    ferry.arrive(1)
    await settle()
    assert ferry.trips == [[0], [1], [2, 3]]
    ferry.arrive(0)
    ferry.arrive(2)
    assert await asyncio.gather(*tasks) == [0, 10, 20, 30]


async def test_a_batch_is_no_larger_than_it_may_be(ferry: Ferry) -> None:
    ferry.free = True
    writes = WriteCoalescer(ferry.carry, name="writes", max_batch=2)
    await asyncio.gather(*calling(writes.call, 1, 2, 3, 4, 5))
    assert ferry.trips == [[1, 2], [3, 4], [5]]


async def test_one_more_than_may_wait_is_refused_at_once_and_harms_nobody(ferry: Ferry) -> None:
    reads = ReadCoalescer(ferry.fetch, name="reads", max_waiting=2)
    first = calling(reads.call, 1)
    await settle()
    waiting = calling(reads.call, 2, 2)
    await settle()
    with pytest.raises(Error, match="too many calls wait for reads") as caught:
        await reads.call(2)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert reads.stats.refused == 1
    ferry.arrive()
    await settle()
    ferry.arrive()
    assert await asyncio.gather(*first, *waiting) == [10, 20, 20]


async def test_who_leaves_the_waiting_makes_room(ferry: Ferry) -> None:
    writes = WriteCoalescer(ferry.carry, name="writes", max_waiting=1)
    first = calling(writes.call, 1)
    await settle()
    (gone,) = calling(writes.call, 2)
    await settle()
    gone.cancel()
    await settle()
    other = calling(writes.call, 3)
    await settle()
    ferry.arrive()
    await settle()
    ferry.arrive()
    assert await asyncio.gather(*first, *other) == [10, 30]
    assert ferry.done == [1, 3]


async def test_each_caller_hears_its_own_error() -> None:
    async def some(items: Sequence[int]) -> list[int | Exception]:
        return [item if item % 2 else AlreadyExists(f"{item}") for item in items]

    writes = WriteCoalescer(some, name="writes")
    results = await asyncio.gather(*calling(writes.call, 1, 2, 3, 4), return_exceptions=True)
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
        ferry = Ferry(free=True, poison=frozenset({poison}))
        coalescer: ReadCoalescer[int, int] | WriteCoalescer[int, int] = (
            ReadCoalescer(ferry.fetch, name="c") if kind == "read"
            else WriteCoalescer(ferry.carry, name="c")
        )  # fmt: skip
        results = await asyncio.gather(
            *calling(coalescer.call, *range(size)), return_exceptions=True
        )
        assert isinstance(results.pop(poison), ValidationError)
        healthy = [item for item in range(size) if item != poison]
        assert results == [item * 10 for item in healthy]
        assert ferry.done == healthy, "each once, in order of arrival"


async def test_what_is_everybodys_fault_is_not_tried_again(
    ferry: Ferry, writes: WriteCoalescer[int, int]
) -> None:
    tasks = calling(writes.call, 1, 2, 3)
    await settle()
    ferry.arrive(failure=Error(Code.UNAVAILABLE, "away"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(error) for error in results] == ["away"] * 3
    assert ferry.trips == [[1, 2, 3]]


async def test_a_write_that_failed_by_a_bug_is_not_repeated_for_it_may_have_been_done(
    ferry: Ferry, writes: WriteCoalescer[int, int]
) -> None:
    tasks = calling(writes.call, 1, 2)
    await settle()
    ferry.arrive(failure=KeyError("bug"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in results] == [KeyError, KeyError]
    assert ferry.trips == [[1, 2]]


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


async def test_too_few_results_are_a_bug_that_everybody_hears_of_once() -> None:
    applied: list[int] = []

    async def short(items: Sequence[int]) -> list[int | Exception]:
        applied.extend(items)
        return []

    writes = WriteCoalescer(short, name="writes")
    results = await asyncio.gather(*calling(writes.call, 1, 2), return_exceptions=True)
    assert [str(error) for error in results] == ["writes: 0 results for 2 items"] * 2
    assert applied == [1, 2]


async def test_a_caller_who_leaves_before_the_departure_takes_its_write_along(
    ferry: Ferry, writes: WriteCoalescer[int, int]
) -> None:
    first = calling(writes.call, 1)
    await settle()
    gone, stays = calling(writes.call, 2, 3)
    await settle()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await gone
    assert caught.value.__notes__ == ["nothing was done: the change was still waiting for its turn"]
    ferry.arrive()
    await settle()
    ferry.arrive()
    await asyncio.gather(*first, stays)
    assert ferry.done == [1, 3]


async def test_a_caller_who_leaves_after_the_departure_leaves_its_write_to_its_fate(
    ferry: Ferry, writes: WriteCoalescer[int, int]
) -> None:
    gone, stays = calling(writes.call, 1, 2)
    await settle()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await gone
    assert "outcome unknown" in caught.value.__notes__[0]
    ferry.arrive()
    assert await stays == 20
    assert ferry.done == [1, 2]


async def test_a_write_whose_only_caller_left_is_still_carried_out(
    ferry: Ferry, writes: WriteCoalescer[int, int]
) -> None:
    (gone,) = calling(writes.call, 1)
    await settle()
    gone.cancel()
    await settle()
    ferry.arrive()
    await writes.stop()
    assert ferry.done == [1]


async def test_a_read_that_nobody_waits_for_any_more_is_cancelled(
    ferry: Ferry, reads: ReadCoalescer[int, int]
) -> None:
    one, two = calling(reads.call, 1, 2)
    await settle()
    one.cancel()
    await settle()
    assert reads.stats.out == 1
    assert not ferry.doors[0].done()
    two.cancel()
    await settle()
    assert reads.stats.out == 0
    assert ferry.doors[0].cancelled()


async def test_a_caller_who_leaves_in_the_moment_of_its_answer_still_leaves(
    ferry: Ferry, writes: WriteCoalescer[int, int]
) -> None:
    (task,) = calling(writes.call, 1)
    await settle()
    ferry.arrive(failure=AlreadyExists())
    while ferry.trips and not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()


async def test_past_its_deadline_a_write_under_way_says_that_the_outcome_is_unknown(
    ferry: Ferry, writes: WriteCoalescer[int, int]
) -> None:
    patient = calling(writes.call, 2)
    with pytest.raises(WriteOutcomeUnknown, match="outcome unknown") as caught:
        async with fail_after(0.01, "the request"):
            await writes.call(1)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    ferry.arrive()
    assert await patient[0] == 20
    assert sorted(ferry.done) == [1, 2]


async def test_past_its_deadline_a_write_not_begun_says_that_nothing_was_done(
    ferry: Ferry, writes: WriteCoalescer[int, int]
) -> None:
    deadline = SharedDeadline(0.01, "the request")
    first = calling(writes.call, 1)
    await settle()
    with pytest.raises(Error, match="nothing was done") as caught, deadline.block():
        await writes.call(2)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    ferry.arrive()
    await asyncio.gather(*first)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert ferry.done == [1]


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
async def test_a_trip_has_until_the_latest_of_its_callers_deadlines(case: Bounds) -> None:
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


async def test_a_trip_that_outlives_every_deadline_is_ended(ferry: Ferry) -> None:
    writes = WriteCoalescer(ferry.carry, name="writes")

    async def one(item: int) -> None:
        async with fail_after(0.01, "the request"):
            await writes.call(item)

    results = await asyncio.gather(one(1), one(2), return_exceptions=True)
    assert {type(error) for error in results} == {WriteOutcomeUnknown}
    await writes.stop()
    assert ferry.doors[0].cancelled()


@pytest.mark.parametrize("deadlines", [(0.01, 0.05), (0.05, 0.01)], ids=["longer", "shorter"])
async def test_each_trip_is_ended_at_its_own_deadline_though_one_timer_serves_them_all(
    ferry: Ferry, deadlines: tuple[float, float]
) -> None:
    writes = WriteCoalescer(ferry.carry, name="writes", lanes=2)

    async def one(item: int, seconds: float) -> None:
        async with fail_after(seconds, "the request"):
            await writes.call(item)

    first = asyncio.create_task(one(1, deadlines[0]))
    await settle()
    second = asyncio.create_task(one(2, deadlines[1]))
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert {type(error) for error in results} == {WriteOutcomeUnknown}
    await writes.stop()
    assert ferry.trips == [[1], [2]]
    assert [door.cancelled() for door in ferry.doors] == [True, True]


async def test_stopping_waits_for_everybody_and_lets_nobody_in(
    ferry: Ferry, writes: WriteCoalescer[int, int]
) -> None:
    tasks = calling(writes.call, 1)
    await settle()
    tasks += calling(writes.call, 2)
    await settle()
    stopping = asyncio.create_task(writes.stop())
    await settle()
    with pytest.raises(Error, match="writes is shutting down") as caught:
        await writes.call(3)
    assert caught.value.code is Code.UNAVAILABLE
    ferry.arrive()
    await settle()
    assert not stopping.done()
    ferry.arrive()
    await stopping
    assert await asyncio.gather(*tasks) == [10, 20]
    await writes.start()
    ferry.free = True
    assert await writes.call(4) == 40


async def test_a_forced_stop_leaves_nobody_hanging(
    ferry: Ferry, writes: WriteCoalescer[int, int]
) -> None:
    under_way = calling(writes.call, 1)
    await settle()
    waiting = calling(writes.call, 2)
    await settle()
    with pytest.raises(Error, match="took longer"):
        async with fail_after(0.01, "stop"):
            await writes.stop()
    unknown, refused = await asyncio.gather(*under_way, *waiting, return_exceptions=True)
    assert isinstance(unknown, WriteOutcomeUnknown)
    assert isinstance(refused, Error)
    assert refused.code is Code.UNAVAILABLE
    assert writes.stats.out == 0


async def test_a_stop_with_nobody_there_is_over_at_once(
    reads: ReadCoalescer[int, int],
) -> None:
    await reads.stop()
    await reads.stop()


class Watch:
    """Notes who was on which trip, and how it ended."""

    def __init__(self) -> None:
        self.callers = 0
        self.departures: list[BatchStart] = []
        self.ended: list[BaseException | None] = []

    def mark(self) -> object:
        self.callers += 1
        return self.callers

    @contextmanager
    def trip(self, departure: BatchStart) -> Generator[None]:
        self.departures.append(departure)
        try:
            yield
        except BaseException as exc:
            self.ended.append(exc)
            raise
        self.ended.append(None)


async def test_an_observer_sees_each_trip_with_every_callers_mark(ferry: Ferry) -> None:
    watch = Watch()
    observer: Observer = watch
    reads = ReadCoalescer(ferry.fetch, name="reads", observer=observer)
    ferry.free = True
    await asyncio.gather(*calling(reads.call, 1, 2, 1))
    (departure,) = watch.departures
    assert departure.name == "reads"
    assert departure.size == 2
    assert sorted(departure.marks, key=repr) == [1, 2, 3]
    assert len(departure.waited) == 3
    assert min(departure.waited) >= 0
    assert watch.ended == [None]


async def test_stats_count_what_happened(ferry: Ferry) -> None:
    reads = ReadCoalescer(ferry.fetch, name="reads")
    ferry.free = True
    await asyncio.gather(*calling(reads.call, 1, 2, 1))
    await reads.call(3)
    await settle()
    stats = reads.stats
    assert (stats.calls, stats.trips, stats.items, stats.largest) == (4, 2, 3, 2)
    assert (stats.waiting, stats.out) == (0, 0)


@pytest.mark.parametrize("wrong", [{"lanes": 0}, {"max_batch": 0}, {"max_waiting": 0}])
async def test_settings_that_could_never_work_are_refused(
    ferry: Ferry, wrong: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        WriteCoalescer(ferry.carry, name="writes", **wrong)  # type: ignore[arg-type]


@asynccontextmanager
async def bounded(seconds: float) -> AsyncGenerator[None]:
    async with asyncio.timeout(seconds):
        yield


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("pauses", [0, 1, 2])
async def test_no_wake_up_is_lost_when_calls_arrive_as_trips_end(lanes: int, pauses: int) -> None:
    """The classic stall: a call that arrives while the last trip is just ending."""

    async def carry(items: Sequence[int]) -> list[int | Exception]:
        for _ in range(pauses):
            await asyncio.sleep(0)
        return [*items]

    writes = WriteCoalescer(carry, name="writes", lanes=lanes, max_batch=3)

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


async def test_a_trip_cut_off_before_it_began_does_not_keep_its_lane() -> None:
    ferry = Ferry(free=True)
    coalescer = ReadCoalescer(ferry.fetch, name="ferry")
    (call,) = calling(coalescer.call, 1)
    await asyncio.sleep(0)  # it waits now, and its trip is about to board
    stopping = asyncio.create_task(coalescer.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping, call])
    await settle()
    await coalescer.start()
    async with asyncio.timeout(5):
        assert await coalescer.call(2) == 20
    await coalescer.stop()


async def test_a_trip_whose_callers_all_left_before_it_departed_carries_nothing() -> None:
    trips: list[Sequence[int]] = []

    async def fetch(keys: Sequence[int]) -> dict[int, int]:
        trips.append(keys)
        if keys == [1]:  # the next trip begins a round after this one has ended
            asyncio.get_running_loop().call_soon(leaving.cancel)
        return {key: key * 10 for key in keys}

    coalescer = ReadCoalescer(fetch, name="ferry", max_batch=1)
    staying, leaving = calling(coalescer.call, 1, 2)
    await asyncio.wait([staying, leaving])
    assert staying.result() == 10
    assert leaving.cancelled()
    assert await coalescer.call(3) == 30
    await coalescer.stop()
    assert (trips, coalescer.stats.trips, coalescer.stats.out) == ([[1], [3]], 2, 0)


@pytest.mark.parametrize("hurried", [False, True], ids=["no deadline", "deadline"])
@pytest.mark.parametrize("kind", ["read", "write"])
async def test_calls_leave_nothing_for_the_garbage_collector(
    kind: str, *, client_imposed: bool
) -> None:
    ferry = Ferry(free=True)
    reads, writes = (
        ReadCoalescer(ferry.fetch, name="reads"),
        WriteCoalescer(ferry.carry, name="writes"),
    )
    call = reads.call if kind == "read" else writes.call
    deadline = SharedDeadline(60, "the calls")

    async def some_calls() -> None:
        with deadline.block() if client_imposed else nullcontext():
            await asyncio.gather(call(1), call(2), call(3))
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
        gc.unfreeze()
        gc.enable()
    await reads.stop()
    await writes.stop()
