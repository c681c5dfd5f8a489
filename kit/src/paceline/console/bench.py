"""Driving a load from a terminal: progress while it runs, a report at the end, Ctrl-C heard.

Invariant: what was measured is always told, however the run ends; only a server that was never
reached has no report. Progress goes to stderr, the report to stdout, so ``--json`` can be piped.
Called by a service's ``bench`` command; the work is done in ``load``.
"""

import asyncio
import signal
from contextlib import suppress
from typing import TextIO

from paceline.console.load import Load, Plan, Tally, reason_of
from paceline.console.load_report import as_json, as_line, as_text
from paceline.errors import Code, Error

_EVERY = 0.25
_CLEAR = "\r\x1b[K"


async def bench(plan: Plan, progress: TextIO | None) -> Tally:
    """Carry out the plan; ``progress`` is a terminal for a live line.

    The first SIGINT or SIGTERM ends the load early, another one cancels. Errors: UNAVAILABLE when
    there is no connection at the start.
    """
    load = Load(plan)
    run = asyncio.create_task(load.run(), name="load")
    _heed_signals(load, run)
    telling = asyncio.create_task(_tell(load, progress), name="load progress") if progress else None
    try:
        return await run
    except OSError as exc:
        where = f"{plan.target.host}:{plan.target.port}"
        raise Error(Code.UNAVAILABLE, f"cannot connect to {where}: {reason_of(exc)}") from exc
    finally:
        if telling is not None:
            telling.cancel()
            await asyncio.wait([telling])
        run.cancel()


def report(plan: Plan, tally: Tally, *, as_data: bool) -> str:
    """The report, ready to print."""
    return as_json(plan, tally) if as_data else as_text(plan, tally)


async def _tell(load: Load, terminal: TextIO) -> None:
    try:
        while True:
            await asyncio.sleep(_EVERY)
            terminal.write(f"{_CLEAR}{as_line(load.tally)}")
            terminal.flush()
    finally:
        terminal.write(_CLEAR)
        terminal.flush()


def _heed_signals(load: Load, run: asyncio.Task[Tally]) -> None:
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if load.running and not load.tally.interrupted:
            load.stop()
        else:
            run.cancel()

    with suppress(NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted)
