"""A pool of workers over a stream of items: the seed's ``WorkerPool``, bounded on both sides.

Results come as they finish, each a value or an error, with the item and its position. Items are
taken only as there is room, so the stream may be endless; at most ``workers`` results wait to be
taken, so memory is flat behind a slow reader. Leaving the block ends all work. `process_pool` is
the same for work that keeps a core busy. Used by ``records import``; see ``group`` for tasks whose
first error is the end.
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
class Result(Generic[I, T]):
    """What became of the item at position ``index`` (from 0): a value, or an error."""

    index: int
    item: I
    value: T | None
    error: Exception | None

    def unwrap(self) -> T:
        """The value. Errors: the error."""
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


@asynccontextmanager
async def worker_pool(
    work: Callable[[I], Awaitable[T]], items: Iterable[I], *, workers: int
) -> AsyncGenerator[AsyncIterator[Result[I, T]]]:
    """Results as they finish, for a block.

    ``async with worker_pool(fetch, keys, workers=4) as results: async for result in results: …``

    *Resources*: up to ``workers`` tasks; leaving the block, in whatever way, cancels and awaits
    them.
    """
    if workers < 1:
        raise ValueError("a pool needs a worker")
    running: set[asyncio.Task[Result[I, T]]] = set()
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
) -> AsyncGenerator[AsyncIterator[Result[I, T]]]:
    """As `worker_pool`, in processes: ``work`` is a module's function, items can be pickled.

    Errors, in a result: ``Error(UNAVAILABLE)`` when a process died. *Resources*: the processes;
    leaving the block waits for the item that each has begun. They die with this process, also
    when it is killed.
    """
    loop = asyncio.get_running_loop()
    executor = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_live_with_parent
    )

    async def run(item: I) -> T:
        try:
            return await loop.run_in_executor(executor, work, item)
        except BrokenExecutor as exc:
            raise Error(Code.UNAVAILABLE, "a worker process died") from exc

    try:
        # One more in hand than there are processes, lest one waits for its next item.
        async with worker_pool(run, items, workers=processes + 1) as results:
            yield results
    finally:
        await asyncio.to_thread(executor.shutdown, cancel_futures=True)


async def _results(
    work: Callable[[I], Awaitable[T]],
    items: Iterable[I],
    running: set[asyncio.Task[Result[I, T]]],
    workers: int,
) -> AsyncGenerator[Result[I, T]]:
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


async def _run(work: Callable[[I], Awaitable[T]], index: int, item: I) -> Result[I, T]:
    try:
        return Result(index, item, await work(item), None)
    except Exception as exc:  # noqa: BLE001 - it is the item's, and goes to whoever reads
        return Result(index, item, None, exc)


def _live_with_parent() -> None:
    """In a worker: leave Ctrl-C to the parent, and end when it is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
