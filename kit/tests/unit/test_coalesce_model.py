"""Both coalescers against one-by-one references, under random arrivals, ends, errors and departures.

Hypothesis chooses who calls, who is cancelled, which trip ends and how; after each step the loop is
run until nothing moves any more, and the invariants are looked at.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paceline.coalesce import ReadCoalescer, WriteCoalescer, WriteOutcomeUnknown
from paceline.errors import Code, Error, ValidationError

KEYS = st.integers(0, 5)


@dataclass(eq=False)
class Trip:
    items: list[int]
    door: "asyncio.Future[Exception | None]"


@dataclass(eq=False)
class Call:
    item: int
    task: "asyncio.Task[int]"
    seen_before: int = 0
    cancelled: bool = False


class Machine(RuleBasedStateMachine):
    """What both kinds have in common: a loop that runs between the steps, trips that can be ended."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.out: list[Trip] = []
        self.calls: list[Call] = []
        self.lanes = 1
        self.max_batch = 1

    def settle(self) -> None:
        async def rounds() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        self.loop.run_until_complete(rounds())

    async def sail(self, items: Sequence[int]) -> None:
        """Be out until a rule says how it ended."""
        trip = Trip([*items], self.loop.create_future())
        self.out.append(trip)
        try:
            failure = await trip.door
        finally:
            self.out.remove(trip)
        if failure is not None:
            raise failure

    def waiting(self) -> int:
        raise NotImplementedError

    def end(self, data: st.DataObject, failure: Exception | None) -> None:
        trip = data.draw(st.sampled_from(self.out), label="trip")
        trip.door.set_result(failure)
        self.settle()

    @precondition(lambda self: bool(self.out))
    @rule(data=st.data())
    def a_trip_comes_back(self, data: st.DataObject) -> None:
        self.end(data, None)

    @precondition(lambda self: bool(self.out))
    @rule(data=st.data())
    def a_trip_fails_for_all(self, data: st.DataObject) -> None:
        self.end(data, Error(Code.UNAVAILABLE, "away"))

    @precondition(lambda self: any(not call.task.done() for call in self.calls))
    @rule(data=st.data())
    def a_caller_leaves(self, data: st.DataObject) -> None:
        alive = [call for call in self.calls if not call.task.done()]
        call = data.draw(st.sampled_from(alive), label="caller")
        call.cancelled = True
        call.task.cancel()
        self.settle()

    @invariant()
    def no_more_trips_than_lanes(self) -> None:
        assert len(self.out) <= self.lanes
        assert all(len(trip.items) <= self.max_batch for trip in self.out)

    @invariant()
    def nobody_waits_beside_a_free_lane(self) -> None:
        assert self.waiting() == 0 or len(self.out) == self.lanes

    def finish(self) -> None:
        for _ in range(10_000):
            if not self.out:
                break
            self.out[0].door.set_result(None)
            self.settle()
        assert all(call.task.done() for call in self.calls), "somebody was never answered"
        assert self.waiting() == 0
        for call in self.calls:
            assert call.cancelled or not call.task.cancelled()
            if not call.task.cancelled():
                call.task.exception()

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


class Writes(Machine):
    """The reference: a list to which each successful write is appended once."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[int] = []
        self.next = 0

    @initialize(lanes=st.integers(1, 3), max_batch=st.integers(1, 4))
    def build(self, lanes: int, max_batch: int) -> None:
        self.lanes, self.max_batch = lanes, max_batch
        self.writes: WriteCoalescer[int, int] = WriteCoalescer(
            self.apply, name="writes", lanes=lanes, max_batch=max_batch
        )

    async def apply(self, items: Sequence[int]) -> list[int | Exception]:
        await self.sail(items)
        if any(self.is_poison(item) for item in items):
            raise ValidationError("item", "poison")
        results: list[int | Exception] = []
        for item in items:
            if item % 10 == 8:
                results.append(Error(Code.ABORTED, "refused"))
            else:
                self.log.append(item)
                results.append(-item)
        return results

    @staticmethod
    def is_poison(item: int) -> bool:
        return item % 10 == 9

    def waiting(self) -> int:
        return self.writes.stats.waiting

    @rule(kind=st.sampled_from([0, 0, 0, 8, 9]), together=st.integers(1, 5))
    def callers_arrive(self, kind: int, together: int) -> None:
        for _ in range(together):
            self.next += 1
            item = self.next * 10 + kind
            self.calls.append(Call(item, self.loop.create_task(self.writes.call(item))))
        self.settle()

    def finish(self) -> None:
        super().finish()
        assert len(self.log) == len({*self.log}), "a write took effect twice"
        if self.lanes == 1:
            assert self.log == sorted(self.log), "not in order of arrival"
        for call in self.calls:
            if call.task.cancelled():
                (note,) = notes_of(call)
                if note.startswith("nothing was done"):
                    assert call.item not in self.log
                continue
            failure = call.task.exception()
            if failure is None:
                assert call.task.result() == -call.item
                assert call.item in self.log
            elif not isinstance(failure, WriteOutcomeUnknown):
                assert call.item not in self.log
                kinds = {9: ValidationError, 8: Error}
                assert call.item % 10 in kinds or "away" in str(failure)


def notes_of(call: Call) -> list[str]:
    """What the cancellation said; asyncio may wrap it in another one."""
    found: BaseException | None = None
    try:
        call.task.result()
    except asyncio.CancelledError as exc:
        found = exc
    while found is not None and not hasattr(found, "__notes__"):
        found = found.__context__
    return found.__notes__ if found else []


class Reads(Machine):
    """The reference: a version for each key that only grows; a read sees what was there before it."""

    def __init__(self) -> None:
        super().__init__()
        self.versions = dict.fromkeys(range(6), 0)

    @initialize(lanes=st.integers(1, 3), max_batch=st.integers(1, 4))
    def build(self, lanes: int, max_batch: int) -> None:
        self.lanes, self.max_batch = lanes, max_batch
        self.reads: ReadCoalescer[int, int] = ReadCoalescer(
            self.fetch, name="reads", lanes=lanes, max_batch=max_batch
        )

    async def fetch(self, keys: Sequence[int]) -> dict[int, int | Exception]:
        assert len(keys) == len({*keys}), "a key travelled twice in one trip"
        snapshot = {key: self.versions[key] for key in keys}  # as early as a statement can see
        await self.sail(keys)
        if 5 in keys:
            raise ZeroDivisionError
        return {key: version for key, version in snapshot.items() if key != 4}

    def waiting(self) -> int:
        return self.reads.stats.waiting

    @rule(keys=st.lists(KEYS, min_size=1, max_size=6))
    def callers_arrive(self, keys: list[int]) -> None:
        for key in keys:
            task = self.loop.create_task(self.reads.call(key))
            self.calls.append(Call(key, task, self.versions[key]))
        self.settle()

    @rule(key=KEYS)
    def a_write_is_acknowledged(self, key: int) -> None:
        self.versions[key] += 1

    def finish(self) -> None:
        super().finish()
        for call in self.calls:
            if call.task.cancelled():
                continue
            failure = call.task.exception()
            if failure is None:
                assert call.seen_before <= call.task.result() <= self.versions[call.item]
                assert call.item not in {4, 5}
            else:
                kind = {4: Error, 5: ZeroDivisionError}
                assert "away" in str(failure) or isinstance(failure, kind[call.item])


TestWrites = Writes.TestCase
TestReads = Reads.TestCase
TestWrites.settings = TestReads.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
