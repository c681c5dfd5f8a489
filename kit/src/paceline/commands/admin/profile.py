"""Where the event loop spends its CPU time: a sampling profiler for a live process.

A timer of the operating system that runs on CPU time (``ITIMER_PROF``) interrupts the main thread
every few milliseconds of CPU time; the handler records the stack and the CPU time that the thread
has used since the last sample. So waiting counts nothing, and without a profile there is no cost.
Rejected: a thread that samples the loop's stack from outside. It gets the interpreter's lock when
the loop releases it, which is while it polls, so that polling is nearly all such a profile shows.
Other threads and processes are not profiled.
"""

import asyncio
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final, NamedTuple

from paceline.errors import Code, Error

_DEEPEST: Final = 200
_INTERVAL: Final = 0.005  # seconds of CPU time


class Cost(NamedTuple):
    """CPU time, and in how many samples it was seen."""

    microseconds: int
    samples: int


@dataclass(frozen=True, slots=True)
class Profile:
    """What a profile found, by stack, the outermost function first."""

    stacks: Mapping[tuple[str, ...], Cost]

    @property
    def microseconds(self) -> int:
        """The CPU time of all."""
        return sum(cost.microseconds for cost in self.stacks.values())


class Profiler:
    """Profiles the main thread, where the event loop must be, every 5 ms of CPU time.

    *Resources*: SIGPROF and its timer while a profile runs; `stop` ends it, and it is returned as
    far as it got.
    """

    name = "profiler"

    def __init__(self) -> None:
        self._ended: asyncio.Event | None = None
        self._stopped = False

    @property
    def running(self) -> bool:
        """Whether a profile is being made."""
        return self._ended is not None

    async def start(self) -> None:
        """Allow profiles."""
        self._stopped = False

    async def stop(self) -> None:
        """End the profile that runs, so that a shutdown does not wait for it."""
        self._stopped = True
        if self._ended is not None:
            self._ended.set()

    async def profile(self, seconds: float) -> Profile:
        """Where the time goes in the next ``seconds``.

        Errors: ABORTED while another profile runs; UNAVAILABLE after `stop`; UNIMPLEMENTED when
        the event loop is not in the main thread, or the system has no such timer.
        """
        if self._ended is not None:
            raise Error(Code.ABORTED, "another profile is running: try again when it has ended")
        if self._stopped:
            raise Error(Code.UNAVAILABLE, "the process is stopping")
        if threading.current_thread() is not threading.main_thread() or not hasattr(
            signal, "SIGPROF"
        ):
            raise Error(Code.UNIMPLEMENTED, "profiles need the main thread, and a POSIX system")
        ended = self._ended = asyncio.Event()
        sampler = _Sampler()
        signal.signal(signal.SIGPROF, sampler.sample)
        try:
            signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await ended.wait()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            # Not the default, which would end the process if one signal more is on its way.
            signal.signal(signal.SIGPROF, _ignore)
            self._ended = None
        return sampler.profile()


class _Sampler:
    """Counts CPU time by stack."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[str, ...], list[int]] = {}
        self._spent = time.thread_time_ns()

    def sample(self, _number: int, frame: FrameType | None) -> None:
        """The signal's handler: called in the main thread, with the frame that it interrupts."""
        now = time.thread_time_ns()
        cost = self._stacks.setdefault(_stack(frame), [0, 0])
        cost[0] += (now - self._spent) // 1000
        cost[1] += 1
        self._spent = now

    def profile(self) -> Profile:
        """All of it."""
        return Profile({stack: Cost(*cost) for stack, cost in self._stacks.items()})


def _ignore(_number: int, _frame: FrameType | None) -> None:
    pass


def _stack(frame: FrameType | None) -> tuple[str, ...]:
    names: list[str] = []
    while frame is not None and len(names) < _DEEPEST:
        module = frame.f_globals.get("__name__", "?")
        names.append(f"{module}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return tuple(reversed(names))
