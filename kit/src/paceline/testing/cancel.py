"""Cancel a piece of work at every point where it waits, and see that it leaves nothing behind.

The work is run again and again. Run number k is cancelled at its k-th suspension, in each of two
ways: while it waits, and in the moment what it waited for has arrived but it has not yet gone on
(`Moment`), where results get lost. After every run no new task may be left. The work must end
with `asyncio.CancelledError`: one that ends in any other way has swallowed its cancellation.

Suspensions of tasks that the work starts are not counted; give their work its own run.
For tests of anything that holds a resource: a pool's checkout, a whole request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from enum import Enum
from typing import Any, Final

_LONGEST: Final = 10_000


class Moment(Enum):
    """When the cancellation strikes."""

    WAITING = "while it waits"
    WAKING = "between the answer and its arrival"


class CancellationFault(AssertionError):
    """The work swallowed its cancellation, or left a task behind."""


async def cancel_at_every_await(
    work: Callable[[], Coroutine[Any, Any, object]],
    check: Callable[[], Awaitable[object]],
    *,
    settle: float = 5.0,
) -> int:
    """Run ``work()`` cancelled at its first wait, its second, …, until one run gets to its end.

    ``check()`` is awaited after each run, and is where a test asserts that all is in order.
    ``settle`` is how many seconds the tasks that a cancelled run leaves have to end by themselves.

    Returns the number of places where the work was cancelled. Errors: `CancellationFault`, with
    the place; what the uncancelled work itself raises.
    """
    place = 0
    while place < _LONGEST:
        struck = False
        for moment in Moment:
            struck = await _run(work, place, moment, settle)
            await check()
        if not struck:
            return place
        place += 1
    raise CancellationFault(f"the work waits more than {_LONGEST} times")


async def _run(
    work: Callable[[], Coroutine[Any, Any, object]], place: int, moment: Moment, settle: float
) -> bool:
    before = asyncio.all_tasks()
    stepper = _Stepper(work(), place, moment)
    task = asyncio.create_task(stepper.run(), name="work to be cancelled")
    await asyncio.wait((task,))
    where = f"cancelled at wait {place} ({moment.value})"
    if not stepper.struck:
        task.result()
    elif not task.cancelled():
        raise CancellationFault(f"{where}, the work ended with {_ending(task)}") from (
            task.exception()
        )
    left = asyncio.all_tasks() - before
    if left:
        _, left = await asyncio.wait(left, timeout=settle)
    if left:
        names = ", ".join(sorted(str(each.get_coro()) for each in left))
        raise CancellationFault(f"{where}, the work left tasks behind: {names}")
    return stepper.struck


def _ending(task: asyncio.Task[object]) -> str:
    exc = task.exception()
    return "a result" if exc is None else type(exc).__name__


class _Stepper:
    """Drives a coroutine from inside a task, so that its suspensions can be counted."""

    def __init__(self, work: Coroutine[Any, Any, object], place: int, moment: Moment) -> None:
        self.struck = False
        self._work = work
        self._place = place
        self._moment = moment

    async def run(self) -> object:
        return await self

    def __await__(self) -> Generator[Any, None, object]:
        inner = self._work.__await__()
        thrown: BaseException | None = None
        place = 0
        while True:
            try:
                waited = inner.send(None) if thrown is None else inner.throw(thrown)
            except StopIteration as end:
                return end.value
            if place == self._place:
                self._strike(waited)
            place += 1
            thrown = None
            try:
                yield waited
            except BaseException as exc:  # noqa: BLE001 - whatever it is, it is the work's to handle
                thrown = exc

    def _strike(self, waited: asyncio.Future[object] | None) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("the work is not driven by a task")
        self.struck = True
        if self._moment is Moment.WAITING:
            task.cancel()
        elif waited is None:  # a bare yield, as in sleep(0)
            asyncio.get_running_loop().call_soon(task.cancel)
        else:
            # Before the task's own callback, so that it wakes up with an answer, cancelled.
            waited.add_done_callback(lambda _: task.cancel())
