"""A blocking call in a thread that nothing waits for at exit.

`asyncio.to_thread` uses threads that the loop and the interpreter wait for when they end: a name
server or a file system that hangs would hold the process for minutes after all else has stopped. A
daemon thread is abandoned instead. Only for calls that may be abandoned, such as reads.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


async def run_in_daemon_thread(call: Callable[[], T], *, name: str) -> T:
    """The result of ``call()``, run in a daemon thread called ``name``.

        addresses = await run_in_daemon_thread(lambda: getaddrinfo(host, port), name="dns")

    When the caller is cancelled, the call goes on and its result is dropped.

    Errors: what ``call`` raises. *Resources*: one daemon thread, until the call returns.
    """
    result: Future[T] = Future()
    result.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as exc:  # noqa: BLE001 - raised in the caller
            result.set_exception(exc)

    Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(result)
