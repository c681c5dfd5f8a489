"""The relay is woken by each ring, and by none after the stop."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from paceline.postgres.outbox import OutboxListener


class HandBell:
    def __init__(self) -> None:
        self.rings: asyncio.Queue[None] = asyncio.Queue()
        self.open = False

    async def wait(self) -> None:
        await self.rings.get()

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator["HandBell"]:
        self.open = True
        try:
            yield self
        finally:
            self.open = False


async def test_each_ring_wakes_the_relay_until_the_stop() -> None:
    bell, woken = HandBell(), asyncio.Queue[None]()
    listener = OutboxListener(bell.listen, lambda: woken.put_nowait(None))
    for _ in range(2):  # it may be started again
        await listener.start()
        bell.rings.put_nowait(None)
        async with asyncio.timeout(5):
            await woken.get()
        await listener.stop()
        assert not bell.open
    bell.rings.put_nowait(None)
    await asyncio.sleep(0)
    assert woken.empty()


async def test_it_may_be_stopped_before_it_was_started() -> None:
    await OutboxListener(HandBell().listen, lambda: None).stop()
