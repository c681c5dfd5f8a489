"""The life of a process: services start in order, run until a signal, and stop in reverse order.

On SIGTERM or SIGINT `Lifecycle.draining` becomes true at once, so that readiness answers 503, and
the services go on for the drain delay, in which load balancers notice. Then each service stops, all
within one timeout; one that takes too long is cancelled, and those after it still get a small share
of time. A second signal forces the stop. A process that is being replaced at its address stops by
`Lifecycle.hand_over`, without the delay and the 503. `ExitCode` is the only table of exit codes.

Rejected: ``AsyncExitStack``, since one service that takes too long would use up the time of all
those below it.
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


class ExitCode(IntEnum):
    """What `Lifecycle.run` returns, for ``sys.exit``. Forced by signal N: 128 + N.

    2 is used by the command line, for wrong arguments or settings.
    """

    CLEAN = 0
    FAILED = 1  # a service could not start, or ended while the process was running
    UNCLEAN = 3  # a service did not stop in time, or failed to: work may have been lost
    FORCED = 128


@runtime_checkable
class Service(Protocol):
    """Something that starts and stops, such as a pool, a server or a consumer.

    `stop` is called once for each `start`, also for one that failed or was cancelled half way, so
    it must work when nothing, or only part, was started. Its time is the current deadline
    (``paceline.concurrency.remaining``), after which it is cancelled. It raises if work was lost.
    """

    @property
    def name(self) -> str:
        """For logs and errors."""
        ...

    async def start(self) -> None:
        """Start; it is ready when this returns."""
        ...

    async def stop(self) -> None:
        """Stop, and release all resources."""
        ...


@runtime_checkable
class Watched(Protocol):
    """A service that can end by itself, such as a child process: then the whole process stops."""

    async def wait(self) -> None:
        """Return or raise when the service has ended. Cancelled before `Service.stop` is called."""
        ...


class StartObserver(Protocol):
    """Is told how `Lifecycle.run` starts. Its methods must not raise."""

    def starting(self, service: Service, /) -> None:
        """This service is started next."""
        ...

    def failed(self, exc: BaseException, /) -> bool:
        """It raised this. True: somebody has been told, and the log need not say it, too."""
        ...


class OnShutdown:
    """A service with nothing to start, whose stop runs ``actions`` in order.

    As the last service it stops first: there all listeners stop accepting, before any of the
    services that they need is stopped.
    """

    def __init__(self, name: str, *actions: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self._actions = actions
        self._started = False

    async def start(self) -> None:
        """Have `stop` run the actions."""
        self._started = True

    async def stop(self) -> None:
        """Run the actions. Errors: the first one; the actions after it do not run."""
        if self._started:
            self._started = False
            for action in self._actions:
                await action()


def _do_nothing() -> None:
    pass


class Lifecycle:
    """Starts services in the order given and stops them in reverse; may be repeated.

        lifecycle = Lifecycle([pool, consumer, server], log, drain_delay=5.0)
        sys.exit(await lifecycle.run())

    For a command or a test, as a block: ``async with Lifecycle([pool], log): ...``.

    In seconds: ``drain_delay`` between the signal and the first stop; ``shutdown_timeout`` for all
    stops together; ``start_timeout`` for each start.

    *Resources*: what the services own, between `start` and `stop`; the handlers of SIGTERM and
    SIGINT during `run`.
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
        self._stop_requested = asyncio.Event()
        self._forced = asyncio.Event()
        self._signal = 0
        self._draining = False
        self._handed_over = False
        self._abandoned: set[asyncio.Task[None]] = set()
        self._observer: StartObserver | None = None

    @property
    def draining(self) -> bool:
        """Whether the process is shutting down and should receive no new requests."""
        return self._draining and not self._handed_over

    def hand_over(self) -> None:
        """Stop as on a signal, but at once: another process serves at this address already.

        It does not become `draining`, since readiness is asked of the address, which is still
        served. A signal that follows counts as the first one.
        """
        if not self._stop_requested.is_set():
            self._log.info("stopping", reason="replaced")
            self._handed_over = True
            self._stop_requested.set()

    async def start(self) -> None:
        """Start all services; when one fails, stop those that were started and raise its error."""
        async with self._changing:
            if self._started:
                return
            self._draining = False
            self._clean = True
            self._forced.clear()
            try:
                for service in self._services:
                    self._started.append(service)
                    if self._observer is not None:
                        self._observer.starting(service)
                    with wrap("start {}", service.name):
                        await self._start_one(service)
            except BaseException:
                await self._stop_started()
                raise

    async def _start_one(self, service: Service) -> None:
        # Not fail_after: tasks that a service starts here would inherit the deadline.
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
        """Stop what was started; True when all of it stopped in time and without errors.

        Errors of services are logged, not raised. Cancelling this call forces the stop: the service
        that is being stopped is cancelled, the others get a short time each, and then the
        cancellation is raised.
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

    async def run(
        self, on_ready: Callable[[], None] = _do_nothing, observer: StartObserver | None = None
    ) -> int:
        """Start, wait for a signal, stop, and return the exit code (see `ExitCode`).

        ``on_ready`` is called once everything has started; ``observer`` is told how that goes, and
        why it failed. Cancelling this call stops everything
        without the drain delay. Must be called in the main thread.
        """
        self._stop_requested.clear()
        self._handed_over = False
        self._signal = 0
        self._observer = observer
        with self._signals():
            try:
                code = await self._run_until_stopped(on_ready)
            except BaseException:
                await self.stop()
                raise
        return ExitCode.FORCED + self._signal if self._forced.is_set() else code

    async def _run_until_stopped(self, on_ready: Callable[[], None]) -> int:
        starting = asyncio.create_task(self.start(), name="start services")
        await self._wait_for_stop(starting)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            return ExitCode.CLEAN if await self.stop() else ExitCode.UNCLEAN
        if (failure := starting.exception()) is not None:
            if self._observer is None or not self._observer.failed(failure):
                self._log.error("could not start", error=failure)
            return ExitCode.FAILED
        watches = [
            asyncio.create_task(service.wait(), name=service.name)
            for service in self._services
            if isinstance(service, Watched)
        ]
        try:
            on_ready()
            await self._wait_for_stop(*watches)
            ended = [watch for watch in watches if watch.done()]
            for watch in ended:
                failure = None if watch.cancelled() else watch.exception()
                self._log.error("service ended by itself", service=watch.get_name(), error=failure)
            self._draining = True
            await self._drain()
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
        clean = await self.stop()
        if ended:
            return ExitCode.FAILED
        return ExitCode.CLEAN if clean else ExitCode.UNCLEAN

    async def _wait_for_stop(self, *tasks: asyncio.Task[None]) -> None:
        """Wait for the first signal or the end of one of the tasks."""
        requested = asyncio.create_task(self._stop_requested.wait())
        try:
            await asyncio.wait({requested, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        finally:
            requested.cancel()

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
        if self._stop_requested.is_set() and not self._handed_over:
            self._log.info("forced to stop", signal=number.name)
            self._signal = self._signal or number
            self._forced.set()
        else:
            self._log.info("stopping", signal=number.name, drain_delay=self._drain_delay)
            self._handed_over = False
            self._stop_requested.set()


async def _stop_within(service: Service, seconds: float) -> None:
    async with fail_after(seconds, f"stop of {service.name}"):
        await service.stop()
