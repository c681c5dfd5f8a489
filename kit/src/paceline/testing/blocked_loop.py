"""A test that holds up its event loop fails: whoever blocks it blocks every request in flight.

Two hooks for a conftest, which imports them from ``fixtures``. Timed is what runs between two looks
at the selector, which costs a few system calls a turn; asyncio's debug mode would slow everything.
Time in which the thread was ready to run and the machine was busy with others is taken off, so a
loaded machine fails no test. Only the loops that pytest-asyncio makes are watched.
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

# A virtual machine loses time that nobody tells it of; what blocks in earnest takes longer.
_LIMIT: Final = 0.4
_HOLDS: Final = pytest.StashKey[list[float]]()


class _TimedSelector(selectors.DefaultSelector):
    """Notes how long the loop was away each time that is longer than the limit."""

    def __init__(self, holds: list[float]) -> None:
        super().__init__()
        self._holds = holds
        self._waits = _Waits()
        self._back_at: float | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events, as the parent does."""
        if self._back_at is not None and time.monotonic() - self._back_at > _LIMIT:
            held = time.monotonic() - self._back_at - self._waits.since_marked()
            if held > _LIMIT:
                self._holds.append(held)
        events = super().select(timeout)
        self._waits.mark()
        self._back_at = time.monotonic()
        return events

    def forget(self) -> None:
        """Do not count the time until the next look: the loop is not running."""
        self._back_at = None

    def close(self) -> None:
        """Close this and the parent."""
        self._waits.close()
        super().close()


class WatchedLoop(asyncio.SelectorEventLoop):
    """An event loop that appends to ``holds`` each time, in seconds, that something held it up."""

    def __init__(self, holds: list[float]) -> None:
        self._timed = _TimedSelector(holds)
        super().__init__(self._timed)

    def run_forever(self) -> None:
        """Run as the parent does: once for each fixture, and once for the test."""
        self._timed.forget()
        super().run_forever()


class _Waits:
    """How long this thread was ready to run and had to wait for a processor."""

    def __init__(self) -> None:
        path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError:  # not Linux, or not told: then nothing is taken off
            self._file = -1
        self._marked = 0.0

    def mark(self) -> None:
        self._marked = self._read()

    def since_marked(self) -> float:
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
    """Give each test a loop that is watched."""
    holds = item.config.stash.setdefault(_HOLDS, [])
    return {"watched": lambda: WatchedLoop(holds)}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, T, T]:
    """Fail the test if it held its loop up."""
    holds = item.config.stash.setdefault(_HOLDS, [])
    holds.clear()
    result = yield
    if holds:
        message = (
            f"the event loop was held up for {max(holds):.2f}s in one go (the limit is "
            f"{_LIMIT}s): --asyncio-debug logs by what"
        )
        pytest.fail(message, pytrace=False)
    return result
