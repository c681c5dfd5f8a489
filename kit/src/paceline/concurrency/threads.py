"""A blocking call in a thread that nobody has to wait for.

`asyncio.to_thread` waits for its threads at the end, and so does the interpreter: a name server or
a file system that hangs would hold a process for minutes after everything else has stopped. A
daemon thread is left behind instead. For calls that only read. Used for a JWKS, and by what looks
at things from a terminal.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


async def in_daemon_thread(call: Callable[[], T], *, name: str) -> T:
    """What ``call`` gives, or raises. A caller that is cancelled leaves the thread to itself.

    *Resources*: one daemon thread, until the call is over.
    """
    result: Future[T] = Future()
    result.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as exc:  # noqa: BLE001 - it is the caller's
            result.set_exception(exc)

    Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(result)
