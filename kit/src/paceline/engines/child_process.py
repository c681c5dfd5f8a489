"""A server as our child process: started, watched, stopped, and gone when we are gone.

Invariant: no server outlives its parent, not even after ``kill -9``: on Linux the kernel sends it
a signal then (see ``launch``). The kernel goes by the *thread* that spawned the child, so that
must be the main one. Rejected: asyncio's subprocesses, which belong to one event loop, while a
test session starts a server in one loop and stops it in another. Used by ``postgres``.
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

Ladder = Sequence[tuple[signal.Signals, float]]
"""Signals to send in turn, each with the seconds that it is given."""


class Child:
    """A running program.

    *Resources*: owns the process until `wait` or `stop` has returned.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its number, also after its end."""
        return self._process.pid

    def find_status(self) -> int | None:
        """How it ended, a signal as a negative number; None while it runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Wait for the end and return the exit status. Any number of tasks may wait."""
        if (handle := _open_handle(self.pid)) is not None:
            try:
                await _readable(handle)
            finally:
                os.close(handle)
        status = self._process.poll()
        while status is None:
            await asyncio.sleep(_POLL)
            status = self._process.poll()
        return status

    async def stop(self, ladder: Ladder) -> signal.Signals | None:
        """Go down the ladder until it ends, then SIGKILL; it has ended when this returns.

        Returns the last signal sent, None when it had ended by itself. When this is cancelled,
        the ladder's last rung is tried at once, holding everything up for a second at most.
        """
        sent: signal.Signals | None = None
        try:
            for rung, seconds in ladder:
                if self._process.poll() is not None:
                    return sent
                sent = rung
                self._process.send_signal(rung)
                try:
                    async with asyncio.timeout(seconds):
                        await self.wait()
                except TimeoutError:
                    continue
        except asyncio.CancelledError:
            self._send_and_wait(ladder[-1][0])
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
    death: signal.Signals,
    environment: Mapping[str, str],
    given: IO[bytes] | None = None,
    handed_on: Collection[int] = (),
) -> Child:
    """Start ``command`` (an absolute path first) as ``account``; it gets ``death`` when we die.

    It sees nothing of our environment and has a session of its own: Ctrl-C on the terminal reaches
    us only, and we stop it when its turn comes. It reads ``given`` and inherits the descriptors
    ``handed_on``, under the same numbers.

    Errors: `EngineError` outside the main thread; ``OSError``.
    """
    if threading.current_thread() is not threading.main_thread():
        message = (
            "an embedded engine must be started from the main thread: the kernel ends it together "
            "with the thread that started it"
        )
        raise EngineError(message)
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    words = (os.getpid(), int(death), uid, gid)
    prefix = [sys.executable, "-I", "-S", launch.__file__, *map(str, words)]
    process = subprocess.Popen(  # noqa: S603 - the command is ours
        [*prefix, *command],
        cwd="/",
        stdin=given or subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        start_new_session=True,
        pass_fds=handed_on,
    )
    return Child(process)


def _open_handle(pid: int) -> int | None:
    """A descriptor that is readable when the process has ended, where there is such a thing."""
    try:
        return os.pidfd_open(pid) if sys.platform == "linux" else None
    except OSError:  # reaped already, or the sandbox forbids the call
        return None


async def _readable(handle: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
