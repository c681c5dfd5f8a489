"""A process's life: services start in order, serve until a signal, and stop in reverse.

SIGTERM or SIGINT: `Lifecycle.draining` becomes true at once (readiness answers 503), the services
go on for the drain delay so that load balancers notice, then each stops within a common timeout;
one that overruns is cancelled and the next ones still get a small fair share. A second signal
forces. A worker whose place another has taken (``paceline.commands.prefork``) stops by `hand_over`,
without the delay and the 503. `Exit` is the only table of exit codes. Rejected: exit stacks,
because a service that overruns must not take the time of those below it. Built by ``main``;
``paceline.health`` reads `Lifecycle.draining`; ``paceline.http.server.server`` is the first to
stop.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

from paceline.concurrency import fail_after
from paceline.errors import Code, Error, wrap
from paceline.log import Logger

_MAX_GRACE: Final = 1.0


class Exit(IntEnum):
    """What `Lifecycle.run` returns, for ``sys.exit``. Forced by signal N: 128 + N.

    2 is the command line's: the configuration or the arguments are wrong.
    """

    CLEAN = 0
    FAILED = 1  # a service could not start, or died while the process was up
    CUT_SHORT = 3  # something did not stop in time or not cleanly: work may have been cut off
    FORCED = 128


@runtime_checkable
class Service(Protocol):
    """Something that starts and stops.

    ``stop`` is called once for each ``start``, also for one that failed or was cancelled half way,
    so it must cope with nothing having been started. It may read
    ``paceline.concurrency.deadline.remaining``, is cancelled when that is over, and raises to tell
    that it cut work short.
    """

    @property
    def name(self) -> str:
        """How logs and errors call it."""
        ...

    async def start(self) -> None:
        """Be ready when this returns."""
        ...

    async def stop(self) -> None:
        """Let go of everything."""
        ...


@runtime_checkable
class Watched(Protocol):
    """A service that can end by itself, such as a child process: the whole process follows it."""

    async def wait(self) -> None:
        """Return or raise when it has ended. Cancelled before `Service.stop` is called."""
        ...


class OnShutdown:
    """A service that is nothing to start: ``actions`` run, in order, when its turn to stop comes.

    Last among the services it closes the doors before anything behind them stops.
    """

    def __init__(self, name: str, *actions: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self._actions = actions
        self._up = False

    async def start(self) -> None:
        """Nothing to do yet."""
        self._up = True

    async def stop(self) -> None:
        """Run the actions. Errors: theirs; the ones after are not run then."""
        if self._up:
            self._up = False
            for action in self._actions:
                await action()


def _nothing() -> None:
    pass


class Lifecycle:
    """Start services in the order given and stop them in reverse; start/stop may be repeated.

    Settings, in seconds: ``drain_delay`` between the signal and the first stop;
    ``shutdown_timeout`` for all stops together; ``start_timeout`` for each start.

    *Resources*: owns what its services own between `start` and `stop`; holds the SIGTERM and
    SIGINT handlers during `run`.
    """

    def __init__(
        self,
        services: Sequence[Service],
        log: Logger,
        *,
        drain_delay: float = 0.0,
        shutdown_timeout: float = 30.0,
        start_timeout: float = 30.0,
    ) -> None:
        self._services = tuple(services)
        self._log = log
        self._drain_delay = drain_delay
        self._shutdown_timeout = shutdown_timeout
        self._start_timeout = start_timeout
        self._grace = min(_MAX_GRACE, shutdown_timeout / (2 * max(1, len(self._services))))
        self._started: list[Service] = []
        self._clean = True
        self._changing = asyncio.Lock()
        self._asked = asyncio.Event()
        self._forced = asyncio.Event()
        self._signal = 0
        self._draining = False
        self._handed_over = False
        self._abandoned: set[asyncio.Task[None]] = set()

    @property
    def draining(self) -> bool:
        """Whether the process is on its way out and should get no new work."""
        return self._draining and not self._handed_over

    def hand_over(self) -> None:
        """Stop as for a signal, but at once: another process serves at this address already.

        Not `draining`, for whoever asks means the address. A signal later on counts as the first.
        """
        if not self._asked.is_set():
            self._log.info("stopping", reason="replaced")
            self._handed_over = True
            self._asked.set()

    async def start(self) -> None:
        """Start what is not up; when a service fails, stop all and raise its error."""
        async with self._changing:
            if self._started:
                return
            self._draining = False
            self._clean = True
            self._forced.clear()
            try:
                for service in self._services:
                    self._started.append(service)
                    with wrap("start {}", service.name):
                        await self._start_one(service)
            except BaseException:
                await self._stop_started()
                raise

    async def _start_one(self, service: Service) -> None:
        # Not fail_after: tasks that a service starts here would inherit its ambient deadline.
        timeout = asyncio.timeout(self._start_timeout)
        try:
            async with timeout:
                await service.start()
        except TimeoutError as exc:
            if not timeout.expired():
                raise
            message = f"start of {service.name} took longer than {self._start_timeout:g}s"
            raise Error(Code.DEADLINE_EXCEEDED, message) from exc

    async def stop(self) -> bool:
        """Stop what was started; True when all of it stopped in time and cleanly.

        Errors of services are logged, not raised. Cancelling this call forces: what is being
        stopped is cancelled, the rest gets its short grace, then the cancellation goes on.
        """
        self._draining = True
        async with self._changing:
            await self._stop_started()
        return self._clean

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def run(self, on_ready: Callable[[], None] = _nothing) -> int:
        """Live from start to stop and return the exit code (see `Exit`).

        ``on_ready`` is called once everything is up. Cancelling this call stops everything,
        without the drain delay. Must be called in the main thread.
        """
        self._asked.clear()
        self._handed_over = False
        self._signal = 0
        with self._signals():
            try:
                code = await self._live(on_ready)
            except BaseException:
                await self.stop()
                raise
        return Exit.FORCED + self._signal if self._forced.is_set() else code

    async def _live(self, on_ready: Callable[[], None]) -> int:
        starting = asyncio.create_task(self.start(), name="start services")
        await self._until_asked(starting)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            return Exit.CLEAN if await self.stop() else Exit.CUT_SHORT
        if (failure := starting.exception()) is not None:
            self._log.error("could not start", error=failure)
            return Exit.FAILED
        watches = [
            asyncio.create_task(service.wait(), name=service.name)
            for service in self._services
            if isinstance(service, Watched)
        ]
        try:
            on_ready()
            await self._until_asked(*watches)
            dead = [watch for watch in watches if watch.done()]
            for watch in dead:
                failure = None if watch.cancelled() else watch.exception()
                self._log.error("service died", service=watch.get_name(), error=failure)
            self._draining = True
            await self._drain()
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
        clean = await self.stop()
        if dead:
            return Exit.FAILED
        return Exit.CLEAN if clean else Exit.CUT_SHORT

    async def _until_asked(self, *tasks: asyncio.Task[None]) -> None:
        """Wait for the first signal or the end of one of the tasks."""
        asked = asyncio.create_task(self._asked.wait())
        try:
            await asyncio.wait({asked, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        finally:
            asked.cancel()

    async def _drain(self) -> None:
        if self._handed_over:
            return
        try:
            async with asyncio.timeout(self._drain_delay):
                await self._forced.wait()
        except TimeoutError:
            pass

    async def _stop_started(self) -> None:
        stopping = asyncio.create_task(self._stop_all(), name="stop services")
        cancelled: asyncio.CancelledError | None = None
        while not stopping.done():
            try:
                await asyncio.wait({stopping})
            except asyncio.CancelledError as exc:
                self._forced.set()
                cancelled = exc
        if cancelled is not None:
            raise cancelled

    async def _stop_all(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._shutdown_timeout
        while self._started:
            service = self._started.pop()
            left = end - loop.time() - self._grace * len(self._started)
            if not await self._stop_one(service, max(left, self._grace)):
                self._clean = False

    async def _stop_one(self, service: Service, seconds: float) -> bool:
        if self._forced.is_set():
            seconds = self._grace
        stopping = asyncio.create_task(_stop_within(service, seconds), name=f"stop {service.name}")
        if not self._forced.is_set():
            forced = asyncio.create_task(self._forced.wait())
            await asyncio.wait(
                {stopping, forced},
                timeout=seconds + self._grace,
                return_when=asyncio.FIRST_COMPLETED,
            )
            forced.cancel()
            stopping.cancel()
        await asyncio.wait({stopping}, timeout=self._grace)
        if not stopping.done():
            self._abandoned.add(stopping)
            stopping.add_done_callback(self._abandoned.discard)
            self._log.error("service would not stop", service=service.name)
            return False
        if stopping.cancelled():
            self._log.error("service was forced to stop", service=service.name)
            return False
        if (failure := stopping.exception()) is not None:
            self._log.error("could not stop cleanly", service=service.name, error=failure)
            return False
        return True

    @contextmanager
    def _signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _on_signal(self, number: signal.Signals) -> None:
        self._draining = True
        if self._asked.is_set() and not self._handed_over:
            self._log.info("forced to stop", signal=number.name)
            self._signal = self._signal or number
            self._forced.set()
        else:
            self._log.info("stopping", signal=number.name, drain_delay=self._drain_delay)
            self._handed_over = False
            self._asked.set()


async def _stop_within(service: Service, seconds: float) -> None:
    async with fail_after(seconds, f"stop of {service.name}"):
        await service.stop()
