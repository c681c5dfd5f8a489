"""The relay is woken by each notification, and by none after the stop."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from paceline.postgres.outbox import OutboxListener


class ManualWakeup:
    def __init__(self) -> None:
        self.notifications: asyncio.Queue[None] = asyncio.Queue()
        self.opened = False

    async def wait(self) -> None:
        await self.notifications.get()

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator["ManualWakeup"]:
        self.opened = True
        try:
            yield self
        finally:
            self.opened = False


async def test_each_notification_wakes_the_relay_until_the_stop() -> None:
    wakeup, woken = ManualWakeup(), asyncio.Queue[None]()
    listener = OutboxListener(wakeup.listen, lambda: woken.put_nowait(None))
    for _ in range(2):  # it may be started again
        await listener.start()
        wakeup.notifications.put_nowait(None)
        async with asyncio.timeout(5):
            await woken.get()
        await listener.stop()
        assert not wakeup.opened
    wakeup.notifications.put_nowait(None)
    await asyncio.sleep(0)
    assert woken.empty()


async def test_it_may_be_stopped_before_it_was_started() -> None:
    await OutboxListener(ManualWakeup().listen, lambda: None).stop()
