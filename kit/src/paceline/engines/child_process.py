"""A server as a child process: started, watched, stopped, and ended together with its parent.

Invariant: no server outlives its parent, not even after ``kill -9``: on Linux the kernel then sends
it a signal (see ``launch``). The kernel does so at the end of the *thread* that spawned the child,
so that must be the main one. Rejected: asyncio's subprocesses, which belong to one event loop,
while a test session starts a server in one loop and stops it in another.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import IO, Final

from paceline.engines import launch
from paceline.engines.account import Account
from paceline.engines.errors import EngineError

_POLL: Final = 0.05
_LAST_GRACE: Final = 1.0

StopSignals = Sequence[tuple[signal.Signals, float]]
"""Signals to send in turn, each with the seconds to wait for its effect."""


class ChildProcess:
    """A running program.

    *Resources*: owns the process until `wait` or `stop` has returned.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The process id, also after its end."""
        return self._process.pid

    def find_status(self) -> int | None:
        """The exit status, a signal as a negative number; None while it runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Wait for its end and return the exit status. Any number of tasks may wait."""
        if (pidfd := _open_pidfd(self.pid)) is not None:
            try:
                await _wait_readable(pidfd)
            finally:
                os.close(pidfd)
        status = self._process.poll()
        while status is None:
            await asyncio.sleep(_POLL)
            status = self._process.poll()
        return status

    async def stop(self, signals: StopSignals) -> signal.Signals | None:
        """Send ``signals`` in turn until it ends, then SIGKILL; it has ended when this returns.

        Returns the last signal sent, None when it had ended by itself. When this is cancelled,
        the last of ``signals`` is sent at once, blocking the loop for a second at most.
        """
        sent: signal.Signals | None = None
        try:
            for number, seconds in signals:
                if self._process.poll() is not None:
                    return sent
                sent = number
                self._process.send_signal(number)
                try:
                    async with asyncio.timeout(seconds):
                        await self.wait()
                except TimeoutError:
                    continue
        except asyncio.CancelledError:
            self._send_and_wait(signals[-1][0])
            raise
        finally:
            killed = self._process.poll() is None
            if killed:
                self._process.kill()
                self._process.wait()
        return signal.SIGKILL if killed else sent

    def _send_and_wait(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_GRACE)


def spawn(
    command: Sequence[str],
    *,
    output: IO[bytes],
    account: Account | None,
    death_signal: signal.Signals,
    environment: Mapping[str, str],
    stdin: IO[bytes] | None = None,
    pass_fds: Collection[int] = (),
) -> ChildProcess:
    """Start ``command`` (an absolute path first) as ``account``.

    The kernel sends it ``death_signal`` when this process ends. It inherits nothing of the
    environment and has a session of its own, so Ctrl-C on the terminal does not reach it. It reads
    ``stdin`` and inherits the descriptors ``pass_fds`` under the same numbers.

    Errors: `EngineError` outside the main thread; ``OSError``.
    """
    if threading.current_thread() is not threading.main_thread():
        message = (
            "an embedded engine must be started from the main thread: the kernel ends it together "
            "with the thread that started it"
        )
        raise EngineError(message)
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    words = (os.getpid(), int(death_signal), uid, gid)
    prefix = [sys.executable, "-I", "-S", launch.__file__, *map(str, words)]
    process = subprocess.Popen(  # noqa: S603 - the command is ours
        [*prefix, *command],
        cwd="/",
        stdin=stdin or subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        start_new_session=True,
        pass_fds=pass_fds,
    )
    return ChildProcess(process)


def _open_pidfd(pid: int) -> int | None:
    """A descriptor that is readable once the process has ended, where the system has them."""
    try:
        return os.pidfd_open(pid) if sys.platform == "linux" else None
    except OSError:  # reaped already, or the sandbox forbids the call
        return None


async def _wait_readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
