"""A service that is one task: it runs between start and stop, and starts and stops in any order."""

import asyncio

from paceline.concurrency.background import BackgroundService
from paceline.concurrency.deadline import fail_after, remaining


class Waiting(BackgroundService):
    name = "waiting"

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()
        self.running = 0
        self.left: float | None = None

    async def run(self) -> None:
        self.running += 1
        self.left = remaining()
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1


async def test_it_runs_from_start_to_stop_and_again() -> None:
    service = Waiting()
    for _ in range(2):
        service.began.clear()
        await service.start()
        await service.start()
        await service.began.wait()
        assert service.running == 1
        await service.stop()
        assert service.running == 0
        await service.stop()


async def test_it_may_be_stopped_before_it_was_started() -> None:
    await Waiting().stop()


async def test_the_deadline_of_the_code_that_starts_it_does_not_apply_to_it() -> None:
    service = Waiting()
    async with fail_after(5.0, "starting"):
        await service.start()
        await service.began.wait()
    assert service.left is None
    await service.stop()
