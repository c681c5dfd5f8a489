"""A service that is one task: it runs between start and stop, and starts and stops in any order."""

import asyncio

from paceline.concurrency.background import Background
from paceline.concurrency.deadline import fail_after, remaining


class Watch(Background):
    name = "watch"

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
    watch = Watch()
    for _ in range(2):
        watch.began.clear()
        await watch.start()
        await watch.start()
        await watch.began.wait()
        assert watch.running == 1
        await watch.stop()
        assert watch.running == 0
        await watch.stop()


async def test_it_may_be_stopped_before_it_was_started() -> None:
    await Watch().stop()


async def test_the_deadline_of_whoever_starts_it_is_not_its_own() -> None:
    watch = Watch()
    async with fail_after(5.0, "starting"):
        await watch.start()
        await watch.began.wait()
    assert watch.left is None
    await watch.stop()
