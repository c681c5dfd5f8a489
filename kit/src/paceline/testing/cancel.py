"""Cancels a coroutine at every point where it waits, and checks that it leaves nothing behind.

The coroutine is run repeatedly. Run number k is cancelled at its k-th suspension, in each of two
ways: while it waits, and after what it waited for has arrived but before it continues
(`CancelMoment`), where results get lost. After every run no new task may be left. The coroutine
must end with `asyncio.CancelledError`: any other end means that it swallowed its cancellation.

Suspensions of tasks that it starts are not counted; give those a run of their own. For tests of
anything that holds a resource: a pool's checkout, a whole request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from enum import Enum
from typing import Any, Final

_LONGEST: Final = 10_000


class CancelMoment(Enum):
    """When the cancellation happens."""

    WAITING = "while it waits"
    WAKING = "after its result arrived"


class CancellationFault(AssertionError):
    """The coroutine swallowed its cancellation, or left a task behind."""


async def cancel_at_every_await(
    work: Callable[[], Coroutine[Any, Any, object]],
    check: Callable[[], Awaitable[object]],
    *,
    settle: float = 5.0,
) -> int:
    """Run ``work()`` cancelled at its first wait, its second, …, until a run completes.

    ``check()`` is awaited after each run, for a test's assertions. ``settle``: how many seconds the
    tasks that a cancelled run leaves have to end by themselves.

        async def intact() -> None:
            assert pool.in_use == 0

        assert await cancel_at_every_await(work, intact) > 3

    Returns the number of waits at which the work was cancelled. Errors: `CancellationFault`, with
    the wait; what the uncancelled work itself raises.
    """
    wait = 0
    while wait < _LONGEST:
        cancelled_here = False
        for moment in CancelMoment:
            cancelled_here = await _run(work, wait, moment, settle)
            await check()
        if not cancelled_here:
            return wait
        wait += 1
    raise CancellationFault(f"the work waits more than {_LONGEST} times")


async def _run(
    work: Callable[[], Coroutine[Any, Any, object]], wait: int, moment: CancelMoment, settle: float
) -> bool:
    before = asyncio.all_tasks()
    stepper = _Stepper(work(), wait, moment)
    task = asyncio.create_task(stepper.run(), name="work to be cancelled")
    await asyncio.wait((task,))
    where = f"cancelled at wait {wait} ({moment.value})"
    if not stepper.cancelled_here:
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
    return stepper.cancelled_here


def _ending(task: asyncio.Task[object]) -> str:
    exc = task.exception()
    return "a result" if exc is None else type(exc).__name__


class _Stepper:
    """Drives a coroutine from inside a task, so that its suspensions can be counted."""

    def __init__(self, work: Coroutine[Any, Any, object], wait: int, moment: CancelMoment) -> None:
        self.cancelled_here = False
        self._work = work
        self._wait = wait
        self._moment = moment

    async def run(self) -> object:
        return await self

    def __await__(self) -> Generator[Any, None, object]:
        inner = self._work.__await__()
        thrown: BaseException | None = None
        wait = 0
        while True:
            try:
                waited = inner.send(None) if thrown is None else inner.throw(thrown)
            except StopIteration as end:
                return end.value
            if wait == self._wait:
                self._cancel(waited)
            wait += 1
            thrown = None
            try:
                yield waited
            except BaseException as exc:  # noqa: BLE001 - whatever it is, it is the work's to handle
                thrown = exc

    def _cancel(self, waited: asyncio.Future[object] | None) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("the work is not driven by a task")
        self.cancelled_here = True
        if self._moment is CancelMoment.WAITING:
            task.cancel()
        elif waited is None:  # a bare yield, as in sleep(0)
            asyncio.get_running_loop().call_soon(task.cancel)
        else:
            # Before the task's own callback, so that it wakes up with an answer, cancelled.
            waited.add_done_callback(lambda _: task.cancel())
