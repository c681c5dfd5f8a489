"""Hedging: what takes unusually long is asked for a second time, and the first answer counts.

From Dean and Barroso, "The Tail at Scale" (CACM 2013): with a delay of about the 95th percentile it
costs a twentieth more load and takes the tail off, where that comes from one slow connection or
replica and not from the load itself; a budget keeps it to that twentieth when everything is slow.
Invariant: when `Hedge.run` is left, however, neither attempt goes on. Only for reads: both may be
carried out. Off by default; in front of reads by key in ``repository``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from paceline.budget import Budget

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stats:
    """Calls, those asked for twice, those that the second answered, those that had no budget."""

    calls: int
    hedged: int
    won: int
    denied: int


class Hedge:
    """Asks again after ``delay`` seconds.

    ``ratio``: at most such a part of the calls is hedged; ``burst``: and so many to begin with.
    """

    def __init__(self, *, delay: float, ratio: float = 0.05, burst: float = 5.0) -> None:
        if delay <= 0 or not 0 <= ratio <= 1 or burst < 1:
            raise ValueError("a delay above 0, a ratio from 0 to 1, a burst of at least 1")
        self._delay = delay
        self._budget = Budget(ratio=ratio, burst=burst)
        self._calls = self._hedged = self._won = self._denied = 0

    @property
    def stats(self) -> Stats:
        """What it has done so far."""
        return Stats(self._calls, self._hedged, self._won, self._denied)

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """The first answer to one or two of ``call()``. Errors: the last one's, if both fail."""
        self._calls += 1
        self._budget.add()
        first = asyncio.ensure_future(call())
        tasks = [first]
        try:
            await asyncio.wait(tasks, timeout=self._delay)
            if not first.done() and self._may_hedge():
                tasks.append(asyncio.ensure_future(call()))
            answer = await _answer(tasks)
            self._won += answer is not first
            return answer.result()
        finally:
            await _end(tasks)

    def _may_hedge(self) -> bool:
        allowed = self._budget.take()
        self._hedged += allowed
        self._denied += not allowed
        return allowed


async def _answer(tasks: "Sequence[asyncio.Future[T]]") -> "asyncio.Future[T]":
    """The first that succeeds, or the last that fails."""
    waiting = {*tasks}
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled() and task.exception() is None:
                return task
        if not waiting:
            return done.pop()


async def _end(tasks: "Sequence[asyncio.Future[T]]") -> None:
    """Cancel what still runs, and wait for it: nothing outlives the call."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: who calls is told of one of them
