"""What the terminal of a stream shows: colours or not, and how many columns.

A stream that is no terminal has no columns: nothing is cut for it. NO_COLOR (https://no-color.org)
and a dumb terminal mean plain text.
"""

import os
from typing import Final, Literal, TextIO

Style = Literal["", "dim", "red", "green", "yellow", "cyan", "bold red", "bold green"]
"""How a text is shown; "" is as it comes."""

_RESET: Final = "\x1b[0m"
_CODES: Final[dict[Style, str]] = {
    "dim": "\x1b[2m",
    "red": "\x1b[31m",
    "green": "\x1b[32m",
    "yellow": "\x1b[33m",
    "cyan": "\x1b[36m",
    "bold red": "\x1b[1;31m",
    "bold green": "\x1b[1;32m",
}
_USUAL_COLUMNS: Final = 80


def shows_colours(stream: TextIO) -> bool:
    """Whether to write colours to ``stream``."""
    return (
        stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") != "dumb"
    )


def columns_of(stream: TextIO) -> int | None:
    """The width of the stream's terminal at this moment; None when it is no terminal."""
    try:
        if not stream.isatty():
            return None
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # it has no descriptor, or is closed
        return _USUAL_COLUMNS
    return columns or _USUAL_COLUMNS


def styled(text: str, style: Style) -> str:
    """The text in its colour, for a terminal that `shows_colours`."""
    return f"{_CODES[style]}{text}{_RESET}" if style else text
