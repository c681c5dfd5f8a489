"""What people see of a start, on stderr: its steps, what is being waited for, why it failed.

On a terminal the steps are one line that is rewritten, and it is gone when the service is ready;
elsewhere each is a line. A server that is not there yet is named before anybody wonders, and why a
start failed is told in sentences (``start_failure``). Invariant: nothing is told twice: the log
keeps its record of a failure, unless the log is read on the same terminal.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO, TypeVar

from paceline.commands.settings import PostgresSettings, ServiceSettings
from paceline.commands.start_failure import (
    ExternalServer,
    could_not_start,
    explain_server,
    explain_start,
    is_about_server,
    postgres_server,
    told_in_sentences,
)
from paceline.errors import Error
from paceline.lifecycle import Service
from paceline.log import Log, columns_of, shows_colours, styled

if TYPE_CHECKING:
    from paceline.commands.wiring import Process

T = TypeVar("T")
_PATIENCE: Final = 1.0
_TICK: Final = 0.1
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_CLEAR: Final = "\r\x1b[2K"
_READY: Final = " ready in "
_LASTING: Final = frozenset({"starting", "initialising"})
_AROUND: Final = 5  # spinner, gaps, and the last column, which some terminals wrap at


class StartReport:
    """Tells on ``stream`` (stderr) how a start of ``program`` goes.

    ``patience``: after so many seconds a server that is waited for is named.

    *Resources*: timers of the event loop, from the first step in it until `close`.
    """

    def __init__(
        self,
        program: str,
        config: ServiceSettings,
        log: Log,
        *,
        stream: TextIO | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        self._program = program
        self._config = config
        self._log = log
        self._stream = stream or sys.stderr
        self._patience = patience
        self._line = _Line(self._stream) if self._stream.isatty() else None
        self._started = time.monotonic()
        self._process: Process | None = None
        self._current: Service | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._checks: set[asyncio.Task[None]] = set()
        if self._line is not None:
            log.before_write(self._line.clear)
            self._line.phase(f"starting {program}")

    def step(self, text: str) -> None:
        """A step that engines or migrations report: "starting NATS 2.15"."""
        if self._line is None:
            self.say(text)
        else:
            self._line.step(text)

    def watch(self, process: "Process") -> None:
        """The process that is to be started."""
        self._process = process

    def starting(self, service: Service) -> None:
        """For the lifecycle: a part is started next."""
        self._stop_waiting()
        self._current = service
        if self._line is not None:
            self._line.phase(f"starting {service.name}")
        if (server := self._needed_by(service)) is not None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(self._patience, self._tell_waiting, server)

    def failed(self, exc: BaseException) -> bool:
        """For the lifecycle: what the part raised. True when the log need not tell it, too."""
        self.close()
        service = self._current
        read_here = self._log.is_for_people and sys.stdout.isatty()
        if service is None or (read_here and not told_in_sentences(exc)):
            return False
        server = self._needed_by(service)
        sentences = explain_start(service.name, exc, self._config)
        if server is not None and is_about_server(exc):
            sentences = explain_server(server, exc)
        colours = shows_colours(self._stream)
        self.say(could_not_start(self._program, sentences, colours=colours))
        return read_here

    @property
    def seconds(self) -> float:
        """How long the start has taken so far."""
        return time.monotonic() - self._started

    def ready(self) -> None:
        """Everything is up: ends the line of steps.

        Servers that the process can do without are asked now, and those that are away are named.
        """
        self.close()
        for _, server in self._process.needs if self._process else ():
            if server.optional is not None:
                task = asyncio.create_task(self._check(server), name=f"ask {server.kind}")
                self._checks.add(task)
                task.add_done_callback(self._checks.discard)

    def close(self) -> None:
        """End the line of steps, if it is there, and wait for nothing any more."""
        self._stop_waiting()
        if self._line is not None:
            self._line.close()
            self._line = None
            self._log.before_write(None)

    def say(self, text: str) -> None:
        """Lines for people."""
        if self._line is not None:
            self._line.clear()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def _needed_by(self, service: Service) -> ExternalServer | None:
        for part, server in self._process.needs if self._process else ():
            if part is service:
                return server
        config = self._config
        if service.name == "schema" and isinstance(config, PostgresSettings):
            return None if config.database_url is None else postgres_server(config)
        return None

    def _tell_waiting(self, server: ExternalServer) -> None:
        self._waiting = None
        self.say(f"Waiting for {server.place} ({server.variable}).")

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    async def _check(self, server: ExternalServer) -> None:
        if server.optional is None:
            return
        try:
            await server.optional()
        except Exception as exc:  # noqa: BLE001 - that it is away is all there is to tell
            what, _ = explain_server(server, exc)
            what = f"{what[:1].upper()}{what[1:]}"
            self.say(f"{what} The service works without it for now ({server.variable}).")


@asynccontextmanager
async def named_server(
    server: ExternalServer,
    connection: AbstractAsyncContextManager[T],
    *,
    stream: TextIO | None = None,
    patience: float = _PATIENCE,
) -> AsyncGenerator[T, None]:
    """``connection`` to ``server``, for a command: named while it is waited for, and if it fails.

    Errors: `Error` with sentences for people instead of its own when the server is away.
    """
    out = stream or sys.stderr
    loop = asyncio.get_running_loop()
    waiting = loop.call_later(
        patience, lambda: out.write(f"Waiting for {server.place} ({server.variable}).\n")
    )
    async with AsyncExitStack() as stack:
        try:
            opened = await stack.enter_async_context(connection)
        except Error as exc:
            if not is_about_server(exc):
                raise
            raise Error(exc.code, "\n  ".join(explain_server(server, exc))) from exc
        finally:
            waiting.cancel()
        yield opened


class _Line:
    """One line of a terminal that is rewritten: what is being started, and for how long."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colours = shows_colours(stream)
        self._started = time.monotonic()
        self._phase = "starting"
        self._steps: dict[str, str] = {}
        self._drawn = False
        self._timer: asyncio.TimerHandle | None = None

    def phase(self, text: str) -> None:
        """What is done now, until the next phase. Most are too short to be seen."""
        self._steps.clear()
        self._phase = text
        if not self._drawn or self._timer is None:
            self._draw()

    def step(self, text: str) -> None:
        """What goes on within it: several at once, each until it is ready."""
        label, ready, _ = text.partition(_READY)
        verb, _, rest = text.partition(" ")
        if ready:
            self._steps.pop(label, None)
        elif verb in _LASTING:
            self._steps[rest.partition(" in ")[0]] = text
        else:
            self._phase = text
        self._draw()

    def clear(self) -> None:
        """Make room for another line; this one is drawn again below it."""
        if self._drawn:
            self._drawn = False
            self._stream.write(_CLEAR)
            self._stream.flush()

    def close(self) -> None:
        """Remove it for good."""
        if self._timer is not None:
            self._timer.cancel()
        self.clear()

    def _draw(self) -> None:
        elapsed = time.monotonic() - self._started
        text = ", ".join(self._steps.values()) or self._phase
        clock = f"{elapsed:.1f} s"
        room = (columns_of(self._stream) or 0) - len(clock) - _AROUND
        if len(text) > room:
            text = f"{text[: max(0, room - 1)]}…"
        spinner = _SPINNER[int(elapsed / _TICK) % len(_SPINNER)]
        if self._colours:
            spinner, clock = styled(spinner, "cyan"), styled(clock, "dim")
        self._stream.write(f"{_CLEAR}{spinner} {text}  {clock}")
        self._stream.flush()
        self._drawn = True
        if self._timer is None:
            self._tick_later()

    def _tick_later(self) -> None:
        with suppress(RuntimeError):  # no loop is running yet: the next step tries again
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._draw()
