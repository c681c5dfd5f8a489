"""The event loop's lag: the one metric that shows code which blocks the loop.

A timer that is due ten times a second measures how late it runs. Everything else that waits in this
process waits at least as long, so the lag explains a slow request that its own spans do not. A
histogram and not the latest value: a scrape every 15 s would see one tick of 150.
"""

import asyncio
from time import perf_counter
from typing import Final

from paceline.metrics.registry import Metrics

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopLag:
    """Measures the running event loop, every ``interval`` seconds.

    *Resources*: one timer from `start` to `stop`.
    """

    name = "event loop lag"

    def __init__(self, metrics: Metrics, *, interval: float = 0.1) -> None:
        lag = metrics.histogram(
            "paceline_event_loop_lag_seconds",
            "How late the event loop's timers were.",
            bounds=_BOUNDS,
        )
        self._series = lag.series()
        self._interval = interval
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Start the timer."""
        if self._timer is None:
            self._schedule()

    async def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._due = perf_counter() + self._interval
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._measure)

    def _measure(self) -> None:
        self._series.observe(max(0.0, perf_counter() - self._due))
        self._schedule()
