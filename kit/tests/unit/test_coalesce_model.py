"""Both coalescers against one-by-one references, under random calls, results, errors and cancellations.

Hypothesis chooses who calls, who is cancelled, which batch ends and how; after each step the loop
runs until nothing is left to do, and the invariants are checked.
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
class Batch:
    items: list[int]
    ending: "asyncio.Future[Exception | None]"


@dataclass(eq=False)
class Call:
    item: int
    task: "asyncio.Task[int]"
    seen_before: int = 0
    cancelled: bool = False


class Machine(RuleBasedStateMachine):
    """Common to both kinds: a loop that runs between the steps, batches that the rules end."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.in_flight: list[Batch] = []
        self.calls: list[Call] = []
        self.max_in_flight = 1
        self.max_batch = 1

    def settle(self) -> None:
        async def rounds() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        self.loop.run_until_complete(rounds())

    async def run(self, items: Sequence[int]) -> None:
        """Be in flight until a rule says how it ends."""
        batch = Batch([*items], self.loop.create_future())
        self.in_flight.append(batch)
        try:
            failure = await batch.ending
        finally:
            self.in_flight.remove(batch)
        if failure is not None:
            raise failure

    def waiting(self) -> int:
        raise NotImplementedError

    def end(self, data: st.DataObject, failure: Exception | None) -> None:
        batch = data.draw(st.sampled_from(self.in_flight), label="batch")
        batch.ending.set_result(failure)
        self.settle()

    @precondition(lambda self: bool(self.in_flight))
    @rule(data=st.data())
    def a_batch_succeeds(self, data: st.DataObject) -> None:
        self.end(data, None)

    @precondition(lambda self: bool(self.in_flight))
    @rule(data=st.data())
    def a_batch_fails_for_all(self, data: st.DataObject) -> None:
        self.end(data, Error(Code.UNAVAILABLE, "away"))

    @precondition(lambda self: any(not call.task.done() for call in self.calls))
    @rule(data=st.data())
    def a_call_is_cancelled(self, data: st.DataObject) -> None:
        alive = [call for call in self.calls if not call.task.done()]
        call = data.draw(st.sampled_from(alive), label="call")
        call.cancelled = True
        call.task.cancel()
        self.settle()

    @invariant()
    def no_more_batches_than_allowed(self) -> None:
        assert len(self.in_flight) <= self.max_in_flight
        assert all(len(batch.items) <= self.max_batch for batch in self.in_flight)

    @invariant()
    def no_call_waits_while_a_batch_may_start(self) -> None:
        assert self.waiting() == 0 or len(self.in_flight) == self.max_in_flight

    def finish(self) -> None:
        for _ in range(10_000):
            if not self.in_flight:
                break
            self.in_flight[0].ending.set_result(None)
            self.settle()
        assert all(call.task.done() for call in self.calls), "a call has no outcome"
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

    @initialize(max_in_flight=st.integers(1, 3), max_batch=st.integers(1, 4))
    def build(self, max_in_flight: int, max_batch: int) -> None:
        self.max_in_flight, self.max_batch = max_in_flight, max_batch
        self.writes: WriteCoalescer[int, int] = WriteCoalescer(
            self.apply, name="writes", max_in_flight=max_in_flight, max_batch=max_batch
        )

    async def apply(self, items: Sequence[int]) -> list[int | Exception]:
        await self.run(items)
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
    def calls_arrive(self, kind: int, together: int) -> None:
        for _ in range(together):
            self.next += 1
            item = self.next * 10 + kind
            self.calls.append(Call(item, self.loop.create_task(self.writes.call(item))))
        self.settle()

    def finish(self) -> None:
        super().finish()
        assert len(self.log) == len({*self.log}), "a write took effect twice"
        if self.max_in_flight == 1:
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

    @initialize(max_in_flight=st.integers(1, 3), max_batch=st.integers(1, 4))
    def build(self, max_in_flight: int, max_batch: int) -> None:
        self.max_in_flight, self.max_batch = max_in_flight, max_batch
        self.reads: ReadCoalescer[int, int] = ReadCoalescer(
            self.fetch, name="reads", max_in_flight=max_in_flight, max_batch=max_batch
        )

    async def fetch(self, keys: Sequence[int]) -> dict[int, int | Exception]:
        assert len(keys) == len({*keys}), "a key is twice in one batch"
        snapshot = {key: self.versions[key] for key in keys}  # as early as a statement can see
        await self.run(keys)
        if 5 in keys:
            raise ZeroDivisionError
        return {key: version for key, version in snapshot.items() if key != 4}

    def waiting(self) -> int:
        return self.reads.stats.waiting

    @rule(keys=st.lists(KEYS, min_size=1, max_size=6))
    def calls_arrive(self, keys: list[int]) -> None:
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
