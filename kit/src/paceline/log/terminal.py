"""What the terminal of a stream shows: colours or not, and how many columns.

A stream that is no terminal has no columns: nothing is cut for it. NO_COLOR (https://no-color.org)
and a dumb terminal mean plain text.
"""

import os
import re
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
# JSON has escapes of its own for what is below U+0020; these it leaves as they are.
_UNPRINTED: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


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


def printable(text: str, *, keep: str = "") -> str:
    """The text with the escape, as of a Python literal, of each character that is not printable.

    So a terminal interprets nothing in it: control characters, line ends, bidirectional marks.
    ``keep``: those that stay as they are, such as the line ends of a text of several lines.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape").decode()
        for sign in text
    )


def printable_json(text: str) -> str:
    """JSON with JSON's own escapes of what a terminal would interpret; its line ends stay."""
    return _UNPRINTED.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def styled(text: str, style: Style) -> str:
    """The text in its colour, for a terminal that `shows_colours`."""
    return f"{_CODES[style]}{text}{_RESET}" if style else text
