"""A group of tasks with a limit: the seed's ``errgroup``, on asyncio's `TaskGroup`.

At most ``limit`` run at once, and `LimitedTaskGroup.go` waits for a free place; the first error
cancels the rest and is the error of the block, itself and not wrapped in a group of exceptions;
nothing outlives the block. `fetch_all` is the seed's ``FetchAll``: many keys, at most ten at once,
results in the order of the keys. Used by ``health`` and by whatever commands do side by side; for
results as they finish, see ``pool``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self, TypeVar, TypeVarTuple

A = TypeVarTuple("A")
K = TypeVar("K")
T = TypeVar("T")


class LimitedTaskGroup:
    """``async with Group(limit=4) as group: await group.go(work, item)``.

    Errors: the first of a task or of the block. *Resources*: its tasks, until the block ends.
    """

    def __init__(self, *, limit: int) -> None:
        if limit < 1:
            raise ValueError("a group must let at least one task run")
        self._places = asyncio.Semaphore(limit)
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def go(self, work: Callable[[*A], Awaitable[T]], *args: *A) -> asyncio.Task[T]:
        """Start ``work(*args)`` as soon as fewer than ``limit`` run."""
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
    """``fetch`` of each key, at most ``limit`` at once, in the order of ``keys``.

    Errors: the first of any; the others are cancelled then, and nothing more is started.
    """
    async with LimitedTaskGroup(limit=limit) as group:
        tasks = [await group.go(fetch, key) for key in keys]
    return [task.result() for task in tasks]
