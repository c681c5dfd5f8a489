"""Where the event loop spends its CPU time: a sampling profiler for a live process.

A timer of the operating system that runs on CPU time (``ITIMER_PROF``) interrupts the main thread
every few milliseconds that the process has worked; the handler notes the stack and what the thread
has spent since the last one. So waiting weighs nothing, and between two profiles nothing costs
anything. Rejected: a thread that looks at the loop's stack from outside. It gets the interpreter's
lock when the loop gives it away, which is while it polls: that is nearly all such a profile shows.
Other threads and processes are not seen. Served by ``profile_page``.
"""

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType
from typing import Final, TypeAlias

from paceline.errors import Code, Error

Stacks: TypeAlias = Mapping[tuple[str, ...], int]
"""Microseconds of CPU by stack, the outermost function first."""
_DEEPEST: Final = 200
_INTERVAL: Final = 0.005  # seconds of CPU time


class Profiler:
    """Profiles the main thread, where the event loop must be, every 5 ms of CPU time.

    *Resources*: SIGPROF and its timer while a profile runs; `stop` ends it, and its caller gets
    what there is.
    """

    name = "profiler"

    def __init__(self) -> None:
        self._over: asyncio.Event | None = None
        self._stopped = False

    @property
    def running(self) -> bool:
        """Whether a profile is being made."""
        return self._over is not None

    async def start(self) -> None:
        """Let profiles be asked for."""
        self._stopped = False

    async def stop(self) -> None:
        """End the profile that runs, so that nobody waits for its time to be over."""
        self._stopped = True
        if self._over is not None:
            self._over.set()

    async def profile(self, seconds: float) -> Stacks:
        """Where the time goes in the next ``seconds``.

        Errors: ABORTED while another profile runs; UNAVAILABLE after `stop`; UNIMPLEMENTED when
        the event loop is not in the main thread, or the system has no such timer.
        """
        if self._over is not None:
            raise Error(Code.ABORTED, "a profile is being made: try again when it is over")
        if self._stopped:
            raise Error(Code.UNAVAILABLE, "the process is stopping")
        if threading.current_thread() is not threading.main_thread() or not hasattr(
            signal, "SIGPROF"
        ):
            raise Error(Code.UNIMPLEMENTED, "profiles need the main thread, and a POSIX system")
        over = self._over = asyncio.Event()
        sampler = _Sampler()
        signal.signal(signal.SIGPROF, sampler.look)
        try:
            signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await over.wait()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            # Not the default, which would end the process if one signal more is on its way.
            signal.signal(signal.SIGPROF, _nothing)
            self._over = None
        return sampler.stacks


class _Sampler:
    """Notes stacks, and what they cost."""

    def __init__(self) -> None:
        self.stacks: Counter[tuple[str, ...]] = Counter()
        self._spent = time.thread_time_ns()

    def look(self, _number: int, frame: FrameType | None) -> None:
        """The signal's handler: called in the main thread, with the frame that it interrupts."""
        now = time.thread_time_ns()
        self.stacks[_stack(frame)] += (now - self._spent) // 1000
        self._spent = now


def _nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def _stack(frame: FrameType | None) -> tuple[str, ...]:
    names: list[str] = []
    while frame is not None and len(names) < _DEEPEST:
        module = frame.f_globals.get("__name__", "?")
        names.append(f"{module}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return tuple(reversed(names))
