"""The workers of a supervisor: started, restarted when they die, replaced one by one on SIGHUP.

Invariants: a slot's new worker is ready before its old one is retired, so there is always one that
serves; a reload whose new worker does not get ready changes nothing. A worker that serves and is
silent for ``max_silence`` is killed, and replaced as if it had died by itself: its event loop does
not run, so it neither answers nor stops. Time is counted in turns of the supervisor's own loop, so
that one which was itself stopped for a while kills nobody. At the first start a slot has
a few attempts, then the service has failed to start; later the attempts have no limit, because the
other workers serve, and the pauses between them grow. It is a service like any other
(``paceline.lifecycle``), so signals, timeouts and exit codes are those of a single process.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Generic, Literal, Protocol, TypeAlias, TypeVar

from paceline.clock import Clock
from paceline.concurrency import LimitedTaskGroup
from paceline.errors import Code, Error
from paceline.log import Logger

Ending: TypeAlias = Literal["retire", "terminate", "kill"]
"""How a worker ends: another has its place; all stop; at once."""

_BACKOFF: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_TURNS: Final = 6  # looks at the workers within ``max_silence``
_FORCED_GRACE: Final = 0.4  # seconds for workers to end when the stop is forced


class Worker(Protocol):
    """One process."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    @property
    def beats(self) -> int:
        """How often it has shown that its event loop runs."""
        ...

    async def ready(self) -> bool:
        """Wait until it serves; False when it has ended instead."""
        ...

    async def wait(self) -> int:
        """Its exit status, once it has ended; at once when it has."""
        ...

    def end(self, how: Ending) -> None:
        """Ask it to end, or kill it; returns at once."""
        ...


W = TypeVar("W", bound=Worker)


class Slot(Generic[W]):
    """A place for one worker at a time."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.worker: W | None = None
        self.ready_at: float = 0.0
        self.failures = 0
        """In a row, without a worker in between that lived for ``stable_after``."""
        self.lock: asyncio.Lock = asyncio.Lock()


class Workers(Generic[W]):
    """``count`` workers, each started by ``spawn``, which gets the number of its slot, from 1.

    Settings, in seconds: ``start_timeout`` of each attempt; ``stop_timeout`` until a worker that
    was asked to end is killed; ``stable_after``: a worker that lived so long resets the count of
    failures; ``backoff``: pauses before the attempts after 0, 1, … failures; ``max_silence``: of a
    worker that is ready; 0 for any. ``attempts``: of each slot at the first start. ``on_hangup``:
    called at each SIGHUP, before the workers are replaced.

    *Resources*: between `start` and `stop`, the processes, a task for each, and SIGHUP's handler.
    """

    name = "workers"

    def __init__(
        self,
        spawn: Callable[[int], W],
        log: Logger,
        clock: Clock,
        *,
        count: int,
        start_timeout: float = 60.0,
        stop_timeout: float = 35.0,
        attempts: int = 3,
        stable_after: float = 10.0,
        backoff: Sequence[float] = _BACKOFF,
        max_silence: float = 6.0,
        on_hangup: Callable[[], object] | None = None,
    ) -> None:
        self.slots: tuple[Slot[W], ...] = tuple(Slot(n) for n in range(1, count + 1))
        self._spawn = spawn
        self._log = log
        self._clock = clock
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._attempts = attempts
        self._stable_after = stable_after
        self._backoff = tuple(backoff)
        self._max_silence = max_silence
        self._alive: set[W] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._hangup = asyncio.Event()
        self._on_hangup = on_hangup
        self._on_hangup_before = signal.getsignal(signal.SIGHUP)

    async def start(self) -> None:
        """Start all at once. Errors: Error(FAILED_PRECONDITION) when one does not get ready."""
        self._hangup.clear()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hangup.set)
        async with LimitedTaskGroup(limit=len(self.slots)) as group:
            for slot in self.slots:
                await group.go(self._fill, slot, self._attempts)
        self._go(self._reload_on_hangup())
        if self._max_silence:
            self._go(self._end_silent())

    async def stop(self) -> None:
        """Stop all at once. Errors: Error(DEADLINE_EXCEEDED) when one did not end well by itself.

        When this is cancelled each gets a second signal, which forces it, and is then killed.
        """
        if asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP):
            signal.signal(signal.SIGHUP, self._on_hangup_before)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for slot in self.slots:
            slot.worker = None
        workers = tuple(self._alive)
        for worker in workers:
            worker.end("terminate")
        try:
            statuses = await asyncio.gather(*(self._ended(worker) for worker in workers))
        except asyncio.CancelledError:
            await self._force()
            raise
        # One that ended by the signal itself had not begun to serve.
        unclean = [status for status in statuses if status not in (0, -signal.SIGTERM)]
        if unclean:
            statuses_text = ", ".join(map(str, unclean))
            raise Error(Code.DEADLINE_EXCEEDED, f"workers ended with status {statuses_text}")

    async def reload(self) -> bool:
        """Replace every worker by a new one; False when a new one did not get ready."""
        self._log.info("reloading", workers=len(self.slots))
        for slot in self.slots:
            async with slot.lock:
                new = await self._attempt(slot)
                if new is None:
                    self._log.error("reload failed: the old workers go on")
                    return False
                old = slot.worker
                self._install(slot, new)
            if old is not None and old in self._alive:
                old.end("retire")
                status = await self._ended(old)
                self._log.info("worker retired", worker=slot.number, pid=old.pid, status=status)
        self._log.info("reloaded", workers=len(self.slots))
        return True

    async def _reload_on_hangup(self) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            if self._on_hangup is not None:
                self._on_hangup()
            await self.reload()

    async def _fill(self, slot: Slot[W], attempts: int = 0) -> None:
        """Try until the slot has a worker; ``attempts`` times, or without an end."""
        failed = 0
        while True:
            await asyncio.sleep(self._backoff[min(slot.failures, len(self._backoff) - 1)])
            worker = await self._attempt(slot)
            if worker is not None:
                self._install(slot, worker)
                return
            slot.failures += 1
            failed += 1
            if failed == attempts:
                message = f"worker {slot.number} did not get ready in {attempts} attempts"
                raise Error(Code.FAILED_PRECONDITION, message)

    async def _attempt(self, slot: Slot[W]) -> W | None:
        """A new worker that is ready, or None; then its process has ended."""
        try:
            worker = self._spawn(slot.number)
        except OSError as exc:
            self._log.error("worker could not be started", worker=slot.number, error=exc)
            return None
        self._alive.add(worker)  # when this is cancelled, `stop` ends it
        try:
            async with asyncio.timeout(self._start_timeout):
                if await worker.ready():
                    return worker
        except TimeoutError:
            worker.end("kill")
        status = await self._ended(worker)
        self._log.error("worker did not get ready", worker=slot.number, status=status)
        return None

    def _install(self, slot: Slot[W], worker: W) -> None:
        slot.worker = worker
        slot.ready_at = self._clock.monotonic()
        self._log.info("worker ready", worker=slot.number, pid=worker.pid)
        self._go(self._watch(slot, worker))

    async def _watch(self, slot: Slot[W], worker: W) -> None:
        """Start another worker when this one has died."""
        status = await worker.wait()
        self._alive.discard(worker)
        async with slot.lock:
            if slot.worker is not worker:
                return  # it was replaced
            slot.worker = None
            lived = self._clock.monotonic() - slot.ready_at
            slot.failures = 0 if lived >= self._stable_after else slot.failures + 1
            self._log.error("worker died", worker=slot.number, pid=worker.pid, status=status)
            await self._fill(slot)

    async def _end_silent(self) -> None:
        """Kill workers whose event loop does not run; `_watch` starts others."""
        seen: dict[W, tuple[int, int]] = {}  # beats, and turns without another one
        while True:
            await asyncio.sleep(self._max_silence / _TURNS)
            before, seen = seen, {}
            for slot in self.slots:
                worker = slot.worker
                if worker is None or worker not in self._alive:
                    continue
                beats, turns = before.get(worker, (-1, 0))
                turns = turns + 1 if worker.beats == beats else 0
                if turns == _TURNS:
                    self._log.error("worker is silent and is killed", worker=slot.number,
                                    pid=worker.pid, seconds=self._max_silence)  # fmt: skip
                    worker.end("kill")
                seen[worker] = worker.beats, turns

    async def _ended(self, worker: W) -> int:
        """Wait for its end, killing it when that takes too long."""
        try:
            async with asyncio.timeout(self._stop_timeout):
                status = await worker.wait()
        except TimeoutError:
            self._log.error("worker did not stop and is killed", pid=worker.pid)
            worker.end("kill")
            status = await worker.wait()
        self._alive.discard(worker)
        return status

    async def _force(self) -> None:
        """End all within a moment."""
        workers = tuple(self._alive)
        for worker in workers:
            worker.end("terminate")
        ends = [asyncio.create_task(worker.wait()) for worker in workers]
        if ends:
            await asyncio.wait(ends, timeout=_FORCED_GRACE)
        for worker, end in zip(workers, ends, strict=True):
            if not end.done():
                worker.end("kill")
        await asyncio.gather(*ends)
        self._alive.clear()

    def _go(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
