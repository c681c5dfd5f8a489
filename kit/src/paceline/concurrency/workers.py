"""A worker pool over a stream of items, bounded on both sides, as Go's workers on channels.

Results come as they finish, each with its item, its position and a value or an error; an error does
not end the others. Items are taken only when a worker is free, so their stream may be endless; at
most ``workers`` results wait to be read, so memory stays flat behind a slow reader. Leaving the
block cancels all work. `process_pool` is the same for work that needs a core of its own.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from paceline.errors import Code, Error

I = TypeVar("I")  # noqa: E741 - an item
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WorkResult(Generic[I, T]):
    """The outcome for the item at position ``index`` (from 0): a value, or an error."""

    index: int
    item: I
    value: T | None
    error: Exception | None

    def unwrap(self) -> T:
        """The value. Errors: the item's error, if it has one."""
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


@asynccontextmanager
async def worker_pool(
    work: Callable[[I], Awaitable[T]], items: Iterable[I], *, workers: int
) -> AsyncGenerator[AsyncIterator[WorkResult[I, T]]]:
    """Run ``work`` for every item with ``workers`` tasks; results as they finish, for a block.

        async with worker_pool(fetch, keys, workers=4) as results:
            async for result in results:
                store(result.item, result.unwrap())

    *Resources*: up to ``workers`` tasks, which are cancelled and awaited when the block ends.
    """
    if workers < 1:
        raise ValueError("workers must be at least 1")
    running: set[asyncio.Task[WorkResult[I, T]]] = set()
    results = _results(work, items, running, workers)
    try:
        yield results
    finally:
        await results.aclose()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def process_pool(
    work: Callable[[I], T], items: Iterable[I], *, processes: int
) -> AsyncGenerator[AsyncIterator[WorkResult[I, T]]]:
    """As `worker_pool`, but in processes; ``work`` and the items must be picklable.

    Errors, in a result: ``Error(UNAVAILABLE)`` when a process died. *Resources*: the processes. The
    end of the block waits for the items that they have begun. They end with this process, also when
    it is killed.
    """
    loop = asyncio.get_running_loop()
    executor = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )

    async def run(item: I) -> T:
        try:
            return await loop.run_in_executor(executor, work, item)
        except BrokenExecutor as exc:
            raise Error(Code.UNAVAILABLE, "a worker process died") from exc

    try:
        # One more than there are processes, so that none waits for its next item.
        async with worker_pool(run, items, workers=processes + 1) as results:
            yield results
    finally:
        await asyncio.to_thread(executor.shutdown, cancel_futures=True)


async def _results(
    work: Callable[[I], Awaitable[T]],
    items: Iterable[I],
    running: set[asyncio.Task[WorkResult[I, T]]],
    workers: int,
) -> AsyncGenerator[WorkResult[I, T]]:
    numbered = enumerate(items)
    while True:
        while len(running) < workers:
            index, item = next(numbered, (-1, None))
            if index < 0:
                break
            running.add(asyncio.create_task(_run(work, index, cast("I", item))))
        if not running:
            return
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            running.discard(task)
            yield task.result()


async def _run(work: Callable[[I], Awaitable[T]], index: int, item: I) -> WorkResult[I, T]:
    try:
        return WorkResult(index, item, await work(item), None)
    except Exception as exc:  # noqa: BLE001 - it is the outcome of this item
        return WorkResult(index, item, None, exc)


def _end_with_parent() -> None:
    """In a worker: leave Ctrl-C to the parent, and exit when the parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
