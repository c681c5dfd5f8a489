"""Every task of the event loop: its name, what it waits for, and since when it is there.

asyncio keeps no time of birth. Rejected: a task factory that notes it, which costs each task of
each request more than a microsecond; instead the tasks are looked over once a second and who is
new is noted, so an age is right to that second and costs a request nothing. Looking may take a
hundredth of the time: with very many tasks it becomes rarer. Built by ``main`` as a service; shown
by ``app``.
"""

import asyncio
from collections.abc import Iterator
from time import perf_counter
from types import FrameType
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec

_INTERVAL: Final = 1.0
_MOST: Final = 1_000
_DEEPEST: Final = 50
_SHARE: Final = 0.01


class TaskInfo(msgspec.Struct, frozen=True):
    """One task. ``stack``: the innermost last, "module:line function"; what it waits for ends it.

    ``age_seconds``: to a second; None for one that came since the last look.
    """

    name: str
    age_seconds: float | None
    stack: list[str]


class TaskList(msgspec.Struct, frozen=True):
    """The tasks, the oldest first; ``total`` may be more than are shown."""

    total: int
    tasks: list[TaskInfo]


class TaskAges:
    """Notes when tasks come, every second.

    *Resources*: a timer from `start` to `stop`.
    """

    name = "task ages"

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[asyncio.Task[Any], float] = WeakKeyDictionary()
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to look."""
        if self._timer is None:
            self._look()

    async def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def list(self) -> TaskList:
        """The tasks of the running loop."""
        now = asyncio.get_running_loop().time()
        tasks = asyncio.all_tasks()
        ages = {task: now - seen for task in tasks if (seen := self._seen.get(task)) is not None}
        oldest = sorted(tasks, key=lambda task: (-ages.get(task, 0.0), task.get_name()))
        shown = [
            TaskInfo(task.get_name(), _rounded(ages.get(task)), [*_stack_of(task)])
            for task in oldest[:_MOST]
        ]
        return TaskList(len(tasks), shown)

    def _look(self) -> None:
        began = perf_counter()
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task in asyncio.all_tasks(loop):
            self._seen.setdefault(task, now)
        pause = max(_INTERVAL, (perf_counter() - began) / _SHARE)
        self._timer = loop.call_later(pause, self._look)


def _rounded(age: float | None) -> float | None:
    return None if age is None else round(age, 1)


def _stack_of(task: "asyncio.Task[Any]") -> Iterator[str]:
    """The chain of what awaits what: asyncio's own stack has only its first link."""
    waits: Any = task.get_coro()
    for _ in range(_DEEPEST):
        frame = _attribute(waits, "cr_frame", "gi_frame", "ag_frame")
        if not isinstance(frame, FrameType):
            break
        name, line = frame.f_globals.get("__name__"), frame.f_lineno
        # Compiled coroutines have neither.
        yield f"{name}:{line} {frame.f_code.co_qualname}" if name else frame.f_code.co_qualname
        waits = _attribute(waits, "cr_await", "gi_yieldfrom", "ag_await")
    if waits is not None:
        yield f"waits for {type(waits).__name__}"


def _attribute(of: Any, *names: str) -> Any:
    for name in names:
        found = getattr(of, name, None)
        if found is not None:
            return found
    return None
