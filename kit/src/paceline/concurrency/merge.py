"""Fan-in: several asynchronous streams as one, as Go merges channels.

Items come in the order in which they are ready; those of one stream keep their order. At most one
item of each stream waits to be read, so a slow reader slows every source. The first error ends the
merged stream and is raised; all streams are closed when the block ends.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


@asynccontextmanager
async def merge(*streams: AsyncGenerator[T]) -> AsyncGenerator[AsyncIterator[T]]:
    """One stream of the items of all ``streams``, for a block.

        async with merge(results, progress) as items:
            async for item in items:
                ...

    It ends when all streams have ended.

    Errors: the first one of any stream. *Resources*: one task for each stream until the block ends,
    and the streams themselves, which are closed then.
    """
    waiting: dict[asyncio.Task[T], AsyncGenerator[T]] = {}
    merged = _merged(streams, waiting)
    try:
        yield merged
    finally:
        await merged.aclose()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for stream in streams:
            await stream.aclose()


async def _merged(
    streams: tuple[AsyncGenerator[T], ...], waiting: dict[asyncio.Task[T], AsyncGenerator[T]]
) -> AsyncGenerator[T]:
    for stream in streams:
        waiting[_next_of(stream)] = stream
    while waiting:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            stream = waiting.pop(task)
            try:
                item = task.result()
            except StopAsyncIteration:
                continue
            yield item
            waiting[_next_of(stream)] = stream


def _next_of(stream: AsyncGenerator[T]) -> asyncio.Task[T]:
    async def take() -> T:
        return await anext(stream)

    return asyncio.create_task(take())
