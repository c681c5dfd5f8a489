"""An instance as plain text, for scripts and for output that is no terminal.

The panels of the live view, whole and without charts, from two snapshots a moment apart, then the
log's last lines.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from paceline.commands.top.client import Snapshot
from paceline.commands.top.log_line import log_lines
from paceline.commands.top.panels import History, all_panels, head
from paceline.commands.top.rates import compare
from paceline.commands.top.text import plain

_ROWS: Final = (100, 100)
_LINES: Final = 10


async def make_report(
    url: str,
    take_snapshot: Callable[[], Awaitable[Snapshot]],
    *,
    seconds: float = 1.0,
    width: int = 100,
) -> str:
    """The text. ``seconds``: the time over which rates are taken. Errors: `Unreachable`."""
    before = await take_snapshot()
    await asyncio.sleep(seconds)
    after = await take_snapshot()
    panels = all_panels(compare(before, after), History(), width=width, rows=_ROWS)
    lines = [head(url, after.state, after.readiness), "", *map(plain, panels)]
    if logged := [*before.lines, *after.lines][-_LINES:]:
        lines += ["", *(plain(each) for record in logged for each in log_lines(record))]
    return "".join(f"{each.rstrip()}\n" for each in lines)
