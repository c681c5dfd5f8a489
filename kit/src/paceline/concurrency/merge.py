"""Fan-in: several asynchronous streams merged into one, the seed's ``Merge`` of channels.

Items come in the order in which they are ready, those of one stream in their own order. At most
one item a stream waits to be taken, so a slow reader slows every source; the first error ends all
and is raised; all streams are closed when the block is left. (Fan-out is ``pool``.) Used by
``records import``, whose progress is one stream beside its work.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


@asynccontextmanager
async def merge(*streams: AsyncGenerator[T]) -> AsyncGenerator[AsyncIterator[T]]:
    """One stream of all items, for a block.

    ``async with merge(one, other) as items: async for item in items: …``

    Ends when all streams have. Errors: the first of any stream. *Resources*: a task a stream
    until the block ends, and the streams themselves, which are closed here.
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
