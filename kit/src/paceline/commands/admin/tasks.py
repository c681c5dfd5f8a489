"""Every task of the event loop: its name, what it waits for, and its age.

asyncio does not record when a task is created. Rejected: a task factory that does, which costs each
task of each request more than a microsecond; instead all tasks are listed once a second and new
ones are recorded, so an age is right to a second and costs requests nothing. Listing may take a
hundredth of the time: with very many tasks it happens less often.
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

    ``age_seconds``: to a second; None for one created since the last listing.
    """

    name: str
    age_seconds: float | None
    stack: list[str]


class TaskList(msgspec.Struct, frozen=True):
    """The tasks, the oldest first; ``total`` may be more than are shown."""

    total: int
    tasks: list[TaskInfo]


class TaskAges:
    """Records when tasks are created, to a second.

    *Resources*: a timer from `start` to `stop`.
    """

    name = "task ages"

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[asyncio.Task[Any], float] = WeakKeyDictionary()
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to record."""
        if self._timer is None:
            self._record()

    async def stop(self) -> None:
        """Stop recording."""
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

    def _record(self) -> None:
        began = perf_counter()
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task in asyncio.all_tasks(loop):
            self._seen.setdefault(task, now)
        pause = max(_INTERVAL, (perf_counter() - began) / _SHARE)
        self._timer = loop.call_later(pause, self._record)


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
