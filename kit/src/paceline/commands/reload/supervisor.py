"""The supervisor of ``run --reload``: engines, sockets, files, and one child after the other.

Invariants: a child is ready before the one before it is told to end; a child that does not get
ready changes nothing, and the next save tries again. Children belong to the terminal's foreground,
so a debugger in them can read it; Ctrl-C reaches them and the supervisor, which then waits for
them and stops the engines last.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from paceline.commands.instance import Instance
from paceline.commands.prefork import (
    LinkedProcess,
    ListenerHandoff,
    WorkerHandoff,
    open_listener,
    port_of,
)
from paceline.commands.reload.files import Snapshot, WatchedFiles, changes
from paceline.commands.reload.handoff import (
    GO,
    GO_FIRST,
    LIBRARIES,
    PRELOAD,
    VARIABLE,
    ReloadHandoff,
    encode,
)
from paceline.commands.reload.program import Program, find_syntax_error
from paceline.commands.settings import ServiceSettings, ports_of
from paceline.commands.start_report import StartReport
from paceline.lifecycle import Lifecycle, Service
from paceline.log import Logger

_POLL: Final = 0.15
_SETTLE: Final = 0.05  # an editor or a checkout changes several files in a row
_START_TIMEOUT: Final = 60.0
_STOP_TIMEOUT: Final = 4.0
_FIRST_LIBRARIES: Final = ("paceline.commands.run",)
_MANY: Final = 3


class Child(Protocol):
    """A process that waits until it may start, as `LinkedProcess` does."""

    @property
    def ended(self) -> bool:
        """Whether it has."""
        ...

    async def ready(self) -> bool:
        """Wait until it serves; False when it has ended instead."""
        ...

    async def wait(self) -> int:
        """Its exit status, once it has ended."""
        ...

    def send(self, line: bytes) -> None:
        """Send it a line."""
        ...

    def end(self, how: Any) -> None:
        """Ask it to end, or kill it."""
        ...


def supervise(
    config: ServiceSettings,
    instance: Instance,
    log: Logger,
    *,
    engines: Sequence[Service],
    engine_urls: Mapping[str, str],
    files: WatchedFiles,
    report: StartReport,
) -> int:
    """Run the service in children until a signal; the exit code. ``report``: of the engines' start.

    Errors: Error(FAILED_PRECONDITION) when a port is in use, or for a program without a file.
    """
    program = Program.this()
    with ExitStack() as stack:
        listeners = {
            server: stack.enter_context(
                open_listener(config.host, port, reuse_port=config.reuse_port)
            )
            for server, port in ports_of(config).items()
        }
        admin = stack.enter_context(
            open_listener(config.admin_host, config.admin_port, reuse_port=config.reuse_port)
        )
        spawn = _Spawner(
            program,
            [*listeners.values(), admin],
            ReloadHandoff(
                worker=WorkerHandoff(
                    worker=1,
                    link=-1,  # filled in for each child
                    listeners={
                        server: ListenerHandoff(handle=opened.fileno(), port=port_of(opened))
                        for server, opened in listeners.items()
                    },
                    admin=admin.fileno(),
                    public_admin=True,
                ),
                instance=instance,
                data_dir=str(config.data_dir),
                engine_urls=dict(engine_urls),
                roots=[str(root) for root in files.roots],
                admin_port=port_of(admin),
            ),
        )
        stack.callback(_terminal_restorer())
        return asyncio.run(_run([*engines, Reloading(spawn, files, report.say)], log, report))


async def _run(services: Sequence[Service], log: Logger, report: StartReport) -> int:
    return await Lifecycle(services, log, start_timeout=_START_TIMEOUT).run(report.close, report)


class Reloading:
    """The service: a child that runs, and one that waits.

    Times in seconds. *Resources*: between `start` and `stop`, the children, and a task that looks
    at ``files``.
    """

    name = "service"

    def __init__(
        self,
        spawn: "Callable[[Sequence[str], Callable[[Sequence[str]], None]], Child]",
        files: WatchedFiles,
        say: Callable[[str], None],
        *,
        poll: float = _POLL,
        start_timeout: float = _START_TIMEOUT,
        stop_timeout: float = _STOP_TIMEOUT,
    ) -> None:
        self._spawn = spawn
        self._files = files
        self._say = say
        self._poll = poll
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._libraries: Sequence[str] = _FIRST_LIBRARIES
        self._waiting: Child | None = None
        self._serving: Child | None = None
        self._alive: set[Child] = set()
        self._ending: set[Child] = set()
        self._served = False
        self._watching: asyncio.Task[None] | None = None
        self._restore: Callable[[], None] = _terminal_restorer()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the first child; whether it gets ready is told to people."""
        self._watching = self._go(self._watch(self._files.snapshot()))

    async def stop(self) -> None:
        """End all children, those that do not end in time by force."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        serving, self._serving = self._serving, None
        alive = tuple(self._alive)
        for child in set(alive) - self._ending:
            if child is serving:
                child.end("retire")  # Ctrl-C has reached it already, and a second signal forces it
            else:
                child.end("kill" if child is self._waiting else "terminate")
        await asyncio.gather(*(self._until_ended(child) for child in alive))

    async def _watch(self, seen: Snapshot) -> None:
        changed: Sequence[str] = ()
        replacing = self._go(self._replace((), time.time()))
        while True:
            await asyncio.sleep(self._poll)
            now = self._files.snapshot()
            if now == seen:
                continue
            while True:
                await asyncio.sleep(_SETTLE)
                settled = self._files.snapshot()
                if settled == now:
                    break
                now = settled
            new = changes(seen, now)
            # What had not got ready yet is part of this change.
            changed = new if replacing.done() else sorted({*changed, *new})
            if not replacing.done():
                replacing.cancel()
                await asyncio.gather(replacing, return_exceptions=True)
            replacing = self._go(self._replace(changed, _saved_at(now, new)))
            seen = now

    async def wait(self) -> None:
        """Look at the files, for ever. Errors: what keeps it from doing so."""
        if self._watching is not None:
            await asyncio.shield(self._watching)

    async def _replace(self, changed: Sequence[str], saved_at: float) -> None:
        try:
            await self._try_to_replace(changed, saved_at)
        except OSError as exc:
            self._say(f"a process could not be started ({exc}); the next save tries again")

    async def _try_to_replace(self, changed: Sequence[str], saved_at: float) -> None:
        """Put a new child in the place of the one that serves, if it gets ready."""
        if problem := find_syntax_error(changed):
            self._say(problem + self._failure(changed))
            return
        new = self._take()
        new.send(GO if self._served else GO_FIRST)
        try:
            async with asyncio.timeout(self._start_timeout):
                ready = await new.ready()
        except TimeoutError:
            ready = False
        except asyncio.CancelledError:
            self._end(new, "terminate")
            raise
        if not ready:
            await self._until_ended(new)
            self._say(self._failure(changed))
            self._waiting = self._add()
            return
        old, self._serving = self._serving, new
        if old is not None:
            self._end(old, "retire")
        if self._served:
            self._say(f"reloaded in {time.time() - saved_at:.1f} s: {_names(changed)}")
        self._served = True
        self._go(self._follow(new))
        self._waiting = self._add()

    def _take(self) -> Child:
        waiting, self._waiting = self._waiting, None
        return self._add() if waiting is None or waiting.ended else waiting

    def _add(self) -> Child:
        child = self._spawn(self._libraries, self._learn)
        self._alive.add(child)
        return child

    def _learn(self, libraries: Sequence[str]) -> None:
        self._libraries = libraries

    async def _follow(self, child: Child) -> None:
        status = await child.wait()
        self._alive.discard(child)
        if self._serving is child:
            self._serving = None
            self._restore()
            self._say(f"the service has ended (status {status}); the next save starts it again")

    def _end(self, child: Child, how: str) -> None:
        child.end(how)
        self._ending.add(child)
        self._go(self._until_ended(child))

    async def _until_ended(self, child: Child) -> None:
        """Wait for its end, and kill it when that takes too long."""
        try:
            async with asyncio.timeout(self._stop_timeout):
                await child.wait()
        except TimeoutError:
            child.end("kill")
            await child.wait()
            self._restore()
        self._alive.discard(child)
        self._ending.discard(child)

    def _failure(self, changed: Sequence[str]) -> str:
        if self._serving is None:
            return "not started; the next save tries again, Ctrl-C stops"
        return f"not reloaded: {_names(changed)}; what was there goes on until the next save"

    def _go(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Spawner:
    """Starts children of ``program``, each with the sockets."""

    def __init__(
        self,
        program: Program,
        sockets: Sequence[socket.socket],
        handoff: ReloadHandoff,
    ) -> None:
        self._command = program.command
        self._sockets = sockets
        self._handoff = handoff

    def __call__(
        self, libraries: Sequence[str], learn: Callable[[Sequence[str]], None]
    ) -> LinkedProcess:
        """Start one that imports ``libraries``; later it reports those that it has."""

        def take(line: bytes) -> None:
            if line.startswith(LIBRARIES):
                learn(msgspec.json.decode(line[len(LIBRARIES) :], type=list[str]))

        ours, theirs = socket.socketpair()
        handles = [each.fileno() for each in (theirs, *self._sockets)]
        worker = msgspec.structs.replace(self._handoff.worker, link=theirs.fileno())
        handoff = msgspec.structs.replace(self._handoff, worker=worker)
        # It is not interrupted until it has decided what to do about that.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with theirs:
                process = subprocess.Popen(  # noqa: S603 - the command is ours
                    [*self._command],
                    env={**os.environ, VARIABLE: encode(handoff)},
                    pass_fds=handles,
                )
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        child = LinkedProcess(process, ours, on_report=take)
        child.send(PRELOAD + msgspec.json.encode([*libraries]) + b"\n")
        return child


def _terminal_restorer() -> Callable[[], None]:
    """Puts the terminal back as it is now: a debugger that was killed leaves it without echo."""
    try:
        state = termios.tcgetattr(sys.stdin.fileno())
    except (termios.error, OSError, ValueError):
        return lambda: None
    return lambda: termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, state)


def _saved_at(now: Snapshot, changed: Sequence[str]) -> float:
    """When the last of them was saved; a moment ago if none is there any more, or has old times."""
    found = time.time()
    saved = max((now[name][0] / 1e9 for name in changed if name in now), default=found)
    return saved if 0 <= found - saved < _POLL + 1.0 else found


def _names(changed: Sequence[str]) -> str:
    shown = [Path(each).name for each in changed[:_MANY]]
    more = len(changed) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
