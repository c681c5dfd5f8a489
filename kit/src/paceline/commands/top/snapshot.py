"""A snapshot of an instance as plain text, for scripts and for what is no terminal.

The same panels as the live view's, whole, from two looks a moment apart, then the log's last lines.
Called by a service's ``top --once``.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from paceline.commands.top.instance import Look
from paceline.commands.top.panels import History, all_panels, head, log_line
from paceline.commands.top.rates import compare

_WIDTH: Final = 100
_ROWS: Final = 100
_LINES: Final = 10


async def once(url: str, look: Callable[[], Awaitable[Look]], *, seconds: float = 1.0) -> str:
    """The text. ``seconds``: the time over which rates are taken. Errors: `Away`."""
    before = await look()
    await asyncio.sleep(seconds)
    after = await look()
    figures = compare(before, after)
    lines = [
        head(url, after.state, after.readiness),
        *all_panels(figures, History(), width=_WIDTH, rows=_ROWS),
    ]
    if told := [*before.lines, *after.lines][-_LINES:]:
        lines += ["", *map(log_line, told)]
    return "\n".join(lines) + "\n"
