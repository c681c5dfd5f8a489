"""The live view on a terminal: figures above, the log's tail below, keys to pause and to leave.

One worker asks, once an ``interval``, and shows; an instance that is away stays on the screen as it
was, with the reason above it, until it is back. Invariant: what the instance sends is only ever
text, never markup or a control sequence. The only file that imports the terminal library, which
takes longer than all the rest: import it where a screen is wanted. Shown by a service's ``top``.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Log, Static

from paceline.commands.top.instance import Away, Look
from paceline.commands.top.panels import History, all_panels, head, log_line
from paceline.commands.top.rates import compare

_LINES: Final = 2000
_ABOUT_LOG: Final = 12
"""Rows that head, doors, queues and the smallest log take."""
_FEWEST: Final = 2


class TopApp(App[None]):
    """The screen. ``look`` asks the instance and raises `Away`; ``interval`` is in seconds.

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
        self, url: str, look: Callable[[], Awaitable[Look]], *, interval: float = 1.0
    ) -> None:
        super().__init__()
        self._url = url
        self._look = look
        self._interval = interval
        self._history = History()
        self._latest: Look | None = None
        self._title = f"asking {url} …"
        self._paused = False

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Static(self._title, id="head", markup=False)
        yield Static("", id="figures", markup=False)
        yield Log(id="log", max_lines=_LINES)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to ask."""
        self.query_one("#log", Log).focus()
        self.run_worker(self._watch(), name="top")

    def action_pause(self) -> None:
        """Stop asking, or go on."""
        self._paused = not self._paused
        self._say(self._title)

    def action_follow(self) -> None:
        """Go to the end of the log."""
        self.query_one("#log", Log).scroll_end(animate=False)

    async def _watch(self) -> None:
        while True:
            if not self._paused:
                try:
                    self._show(await self._look())
                except Away as exc:
                    self._say(f"away: {exc.message}  {self._url}", away=True)
            await asyncio.sleep(self._interval)

    def _show(self, look: Look) -> None:
        before, self._latest = self._latest, look
        self._say(head(self._url, look.state, look.readiness))
        if before is not None:
            figures = compare(before, look)
            self._history.note(figures)
            rows = max((self.size.height - _ABOUT_LOG) // 3, _FEWEST)
            width = self.size.width - 2
            lines = all_panels(figures, self._history, width=width, rows=rows)
            self.query_one("#figures", Static).update("\n".join(lines))
        if look.lines:
            self.query_one("#log", Log).write_lines([log_line(line) for line in look.lines])

    def _say(self, title: str, *, away: bool = False) -> None:
        self._title = title
        line = self.query_one("#head", Static)
        line.update(f"PAUSED  {title}" if self._paused else title)
        line.set_class(away, "away")
