"""A task group with a limit, as Go's ``errgroup`` with ``SetLimit``, on asyncio's `TaskGroup`.

At most ``limit`` tasks run at once; `LimitedTaskGroup.go` waits for a free place. The first error
cancels the other tasks and is raised by the block itself, not wrapped in an exception group; no
task outlives the block. For results as they finish, and errors that do not end the rest, see
`worker_pool`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self, TypeVar, TypeVarTuple

A = TypeVarTuple("A")
K = TypeVar("K")
T = TypeVar("T")


class LimitedTaskGroup:
    """Runs at most ``limit`` tasks at once, and all of them within the block.

        async with LimitedTaskGroup(limit=4) as group:
            for url in urls:
                await group.go(download, url)

    Errors, of the block: the first one of a task or of the block. ``ValueError`` for a limit below
    1. *Resources*: its tasks, until the block ends.
    """

    def __init__(self, *, limit: int) -> None:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        self._places = asyncio.Semaphore(limit)
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def go(self, work: Callable[[*A], Awaitable[T]], *args: *A) -> asyncio.Task[T]:
        """Start ``work(*args)`` as a task, once fewer than ``limit`` are running."""
        await self._places.acquire()

        async def run() -> T:
            return await work(*args)

        task = self._tasks.create_task(run())
        task.add_done_callback(lambda _: self._places.release())
        return task

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._tasks.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as errors:
            # The block's own error comes first: it is why the others were cancelled.
            own = error is not None and error in errors.exceptions
            first = error if own and error is not None else errors.exceptions[0]
            raise first from first.__cause__


async def fetch_all(
    keys: Iterable[K], fetch: Callable[[K], Awaitable[T]], *, limit: int = 10
) -> list[T]:
    """The result of ``fetch`` for each key, in the order of ``keys``; ``limit`` run at once.

        sizes = await fetch_all(urls, size_of, limit=4)

    Errors: the first one; the others are cancelled then, and no more are started.
    """
    async with LimitedTaskGroup(limit=limit) as group:
        tasks = [await group.go(fetch, key) for key in keys]
    return [task.result() for task in tasks]
