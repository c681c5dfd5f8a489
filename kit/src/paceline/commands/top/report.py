"""An instance as plain text, for scripts and for output that is no terminal.

The panels of the live view, whole, from two snapshots a moment apart, then the log's last lines.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from paceline.commands.top.client import Snapshot
from paceline.commands.top.panels import History, all_panels, head, log_line
from paceline.commands.top.rates import compare

_WIDTH: Final = 100
_ROWS: Final = 100
_LINES: Final = 10


async def make_report(
    url: str, take_snapshot: Callable[[], Awaitable[Snapshot]], *, seconds: float = 1.0
) -> str:
    """The text. ``seconds``: the time over which rates are taken. Errors: `Unreachable`."""
    before = await take_snapshot()
    await asyncio.sleep(seconds)
    after = await take_snapshot()
    figures = compare(before, after)
    lines = [
        head(url, after.state, after.readiness),
        *all_panels(figures, History(), width=_WIDTH, rows=_ROWS),
    ]
    if logged := [*before.lines, *after.lines][-_LINES:]:
        lines += ["", *map(log_line, logged)]
    return "\n".join(lines) + "\n"
