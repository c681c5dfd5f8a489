"""The live view on a terminal: figures above, the log's tail below, keys to pause and to leave.

One worker takes a snapshot each ``interval`` and shows it; while the instance cannot be reached,
the last figures stay, with the reason above them. Tables show the last few intervals together, so
that they do not flicker; a column of a chart is one interval. Invariant: what the instance sends is
shown as text, never as markup or a control sequence. The only file that imports the terminal
library, which takes longer than all the rest: import it only where a screen is shown.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.widgets import Footer, RichLog, Static

from paceline.commands.top.client import Snapshot, Unreachable
from paceline.commands.top.log_line import log_lines
from paceline.commands.top.panels import History, fitting_panels, head
from paceline.commands.top.rates import Figures, compare
from paceline.commands.top.text import Line, Style, fit

_LINES: Final = 2000
_TOGETHER: Final = 5
"""Intervals that a table shows together."""
_AROUND: Final = 7
"""Rows for the head, the footer, and the smallest log."""
_COLOURS: Final[Mapping[Style, str]] = {
    "": "", "dim": "dim", "title": "bold", "ok": "#7ec850", "client": "#e0a030",
    "server": "#ff5f5f", "refused": "#c792ea", "fast": "#7fd7e7", "slow": "#4f86d6",
    "good": "#7ec850", "warn": "#e0a030", "bad": "bold #ff5f5f",
}  # fmt: skip


class TopApp(App[None]):
    """The screen. ``take_snapshot`` raises `Unreachable`; ``interval`` is in seconds.

    *Resources*: one worker, until the screen is closed.
    """

    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False
    CSS: ClassVar[str] = """
    Screen { overflow: hidden; }
    #head { background: $primary-darken-2; color: $text; text-style: bold; height: 1; padding: 0 1;
            text-wrap: nowrap; text-overflow: ellipsis; }
    #head.unready { background: $warning-darken-2; }
    #head.away { background: $error-darken-1; }
    #figures { padding: 0 1; height: auto; }
    #log { height: 1fr; min-height: 4; border-top: solid $primary-darken-1; padding: 0 1;
           background: $background; scrollbar-size: 0 1; overflow-x: hidden; }
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
        self._records: deque[str] = deque(maxlen=_LINES)
        self._snapshots: deque[Snapshot] = deque(maxlen=_TOGETHER + 1)
        self._figures: Figures | None = None
        self._title = f"connecting to {url} …"
        self._paused = False

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Static(self._title, id="head", markup=False)
        yield Static("", id="figures", markup=False)
        yield RichLog(id="log", max_lines=_LINES, min_width=0, auto_scroll=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to take snapshots."""
        self.query_one("#log", RichLog).focus()
        self.run_worker(self._watch(), name="top")

    def on_resize(self, _event: Resize) -> None:
        """Draw for the new width."""
        self._draw()
        self.query_one("#log", RichLog).clear()
        self._write(self._records)

    def action_pause(self) -> None:
        """Stop taking snapshots, or go on."""
        self._paused = not self._paused
        self._set_title(self._title)

    def action_follow(self) -> None:
        """Go to the end of the log."""
        self.query_one("#log", RichLog).scroll_end(animate=False)

    async def _watch(self) -> None:
        while True:
            if not self._paused:
                try:
                    self._show(await self._take_snapshot())
                except Unreachable as exc:
                    self._set_title(f"away: {exc.message}  {self._url}", "away")
            await asyncio.sleep(self._interval)

    def _show(self, latest: Snapshot) -> None:
        ready = latest.readiness.status == "ready"
        self._set_title(head(self._url, latest.state, latest.readiness), "" if ready else "unready")
        if self._snapshots:
            self._history.add(compare(self._snapshots[-1], latest))
            self._figures = compare(self._snapshots[0], latest)
        self._snapshots.append(latest)
        self._draw()
        self._records += latest.lines
        self._write(latest.lines)

    def _draw(self) -> None:
        if self._figures is None:
            return
        lines = fitting_panels(
            self._figures,
            self._history,
            width=self.size.width - 2,
            height=max(self.size.height - _AROUND, 1),
            interval=self._interval,
        )
        self.query_one("#figures", Static).update(Text("\n").join(map(_text, lines)))

    def _write(self, records: Iterable[str]) -> None:
        """Add to the log, and follow it where the user has not gone back in it."""
        log = self.query_one("#log", RichLog)
        follows = log.is_vertical_scroll_end
        width = self.size.width - 3  # its padding and its scroll bar
        for record in records:
            for each in log_lines(record, width):
                log.write(_text(fit(each, width)), width=width)
        if follows:
            log.scroll_end(animate=False, immediate=True, x_axis=False)

    def _set_title(self, title: str, state: str = "") -> None:
        self._title = title
        line = self.query_one("#head", Static)
        line.update(f"PAUSED  {title}" if self._paused else title)
        line.set_classes(state)


def _text(spans: Line) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis", end="")
    for span in spans:
        behind = f" on {_COLOURS[span.behind]}" if span.behind else ""
        text.append(span.text, _COLOURS[span.style] + behind)
    return text
