"""The live view on a terminal: figures above, the log's tail below, keys to pause and to leave.

One worker takes a snapshot each ``interval`` and shows it; while the instance cannot be reached,
the last figures stay, with the reason above them. Invariant: what the instance sends is shown as
text, never as markup or a control sequence. The only file that imports the terminal library, which
takes longer than all the rest: import it only where a screen is shown.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Log, Static

from paceline.commands.top.client import Snapshot, Unreachable
from paceline.commands.top.panels import History, all_panels, head, log_line
from paceline.commands.top.rates import compare

_LINES: Final = 2000
_ABOUT_LOG: Final = 12
"""Rows that the head, traffic, queues and the smallest log take."""
_FEWEST: Final = 2


class TopApp(App[None]):
    """The screen. ``take_snapshot`` raises `Unreachable`; ``interval`` is in seconds.

    *Resources*: one worker, until the screen is closed.
    """

    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False
    CSS: ClassVar[str] = """
    Static { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
    #head { background: $primary; color: $text; text-style: bold; height: 1; }
    #head.away { background: $error; }
    #figures { padding: 0 1; }
    #log { height: 1fr; min-height: 4; border-top: solid $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("p", "pause", "Pause"),
        Binding("end", "follow", "Follow the log"),
    ]

    def __init__(
        self,
        url: str,
        take_snapshot: Callable[[], Awaitable[Snapshot]],
        *,
        interval: float = 1.0,
    ) -> None:
        super().__init__()
        self._url = url
        self._take_snapshot = take_snapshot
        self._interval = interval
        self._history = History()
        self._latest: Snapshot | None = None
        self._title = f"connecting to {url} …"
        self._paused = False

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Static(self._title, id="head", markup=False)
        yield Static("", id="figures", markup=False)
        yield Log(id="log", max_lines=_LINES)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to take snapshots."""
        self.query_one("#log", Log).focus()
        self.run_worker(self._watch(), name="top")

    def action_pause(self) -> None:
        """Stop taking snapshots, or go on."""
        self._paused = not self._paused
        self._set_title(self._title)

    def action_follow(self) -> None:
        """Go to the end of the log."""
        self.query_one("#log", Log).scroll_end(animate=False)

    async def _watch(self) -> None:
        while True:
            if not self._paused:
                try:
                    self._show(await self._take_snapshot())
                except Unreachable as exc:
                    self._set_title(f"away: {exc.message}  {self._url}", away=True)
            await asyncio.sleep(self._interval)

    def _show(self, latest: Snapshot) -> None:
        before, self._latest = self._latest, latest
        self._set_title(head(self._url, latest.state, latest.readiness))
        if before is not None:
            figures = compare(before, latest)
            self._history.add(figures)
            rows = max((self.size.height - _ABOUT_LOG) // 3, _FEWEST)
            width = self.size.width - 2
            lines = all_panels(figures, self._history, width=width, rows=rows)
            self.query_one("#figures", Static).update("\n".join(lines))
        if latest.lines:
            self.query_one("#log", Log).write_lines([log_line(line) for line in latest.lines])

    def _set_title(self, title: str, *, away: bool = False) -> None:
        self._title = title
        line = self.query_one("#head", Static)
        line.update(f"PAUSED  {title}" if self._paused else title)
        line.set_class(away, "away")
