"""Fails a test that blocks its event loop, because blocking code delays every request in flight.

Two pytest hooks, for a conftest to import. Measured is the time between two calls of the selector,
which costs a few system calls a turn; asyncio's debug mode would slow everything. Time in which the
thread was runnable but had no processor is subtracted, so a loaded machine fails no test. Only the
loops that pytest-asyncio makes are monitored.
"""

import asyncio
import os
import selectors
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Final, TypeVar

import pytest

T = TypeVar("T")

# A virtual machine may be paused without knowing; code that really blocks takes longer.
_LIMIT: Final = 0.4
_BLOCKED: Final = pytest.StashKey[list[float]]()


class _TimedSelector(selectors.DefaultSelector):
    """Records the times between two selects that are longer than the limit."""

    def __init__(self, blocked: list[float]) -> None:
        super().__init__()
        self._blocked = blocked
        self._delay = _RunQueueDelay()
        self._returned_at: float | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events, as the parent does."""
        if self._returned_at is not None and time.monotonic() - self._returned_at > _LIMIT:
            blocked_for = time.monotonic() - self._returned_at - self._delay.since_mark()
            if blocked_for > _LIMIT:
                self._blocked.append(blocked_for)
        events = super().select(timeout)
        self._delay.mark()
        self._returned_at = time.monotonic()
        return events

    def reset(self) -> None:
        """Do not count the time until the next select: the loop is not running."""
        self._returned_at = None

    def close(self) -> None:
        """Close this and the parent."""
        self._delay.close()
        super().close()


class MonitoredLoop(asyncio.SelectorEventLoop):
    """An event loop that appends to ``blocked`` the seconds of each time that it was blocked."""

    def __init__(self, blocked: list[float]) -> None:
        self._timed = _TimedSelector(blocked)
        super().__init__(self._timed)

    def run_forever(self) -> None:
        """Run as the parent does: once for each fixture, and once for the test."""
        self._timed.reset()
        super().run_forever()


class _RunQueueDelay:
    """How long this thread was runnable and waited for a processor."""

    def __init__(self) -> None:
        path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError:  # not Linux, or not readable: then nothing is subtracted
            self._file = -1
        self._marked = 0.0

    def mark(self) -> None:
        self._marked = self._read()

    def since_mark(self) -> float:
        return self._read() - self._marked

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _read(self) -> float:
        if self._file < 0:
            return 0.0
        # Nanoseconds on a processor, nanoseconds waiting for one, time slices.
        return int(os.pread(self._file, 64, 0).split()[1]) / 1e9


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give each test a monitored loop."""
    blocked = item.config.stash.setdefault(_BLOCKED, [])
    return {"monitored": lambda: MonitoredLoop(blocked)}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, T, T]:
    """Fail the test if it blocked its loop."""
    blocked = item.config.stash.setdefault(_BLOCKED, [])
    blocked.clear()
    result = yield
    if blocked:
        message = (
            f"the event loop was blocked for {max(blocked):.2f}s at once (the limit is "
            f"{_LIMIT}s): --asyncio-debug logs by what"
        )
        pytest.fail(message, pytrace=False)
    return result
