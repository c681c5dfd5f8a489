"""Lines of text with styles by meaning, which every output shows in its own way, or not at all.

A line is a tuple of spans. Widths are in characters, so a name from an instance is cleaned first:
what a terminal would interpret never gets here. Rejected: the terminal library's own text, which
takes longer to import than all the rest, and which a plain report does not need.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

Style: TypeAlias = Literal[
    "", "dim", "title", "ok", "client", "server", "refused", "fast", "slow", "good", "warn", "bad"
]
"""What a text means. The outcomes of requests are ``ok``, ``client``, ``server``, ``refused``."""
_ELLIPSIS: Final = "…"
_LEAST: Final = 8
"""A name with fewer characters says nothing."""


class Span(NamedTuple):
    """A text in one style; ``behind``: that of the rest of its cell."""

    text: str
    style: Style = ""
    behind: Style = ""


Line: TypeAlias = tuple[Span, ...]


class Column(NamedTuple):
    """A column of a table; ``width`` 0: what is left. Only such a column is aligned left."""

    title: str
    width: int


def line(*parts: str | Span) -> Line:
    """A line of texts and spans."""
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def plain(spans: Line) -> str:
    """Without styles."""
    return "".join(span.text for span in spans)


def clean(text: str) -> str:
    """Text from an instance, without anything that a terminal would interpret."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else " " for sign in text)


def fit(spans: Line, width: int) -> Line:
    """The line in exactly ``width`` characters: cut, or filled with blanks."""
    left = width
    fitted: list[Span] = []
    for span in spans:
        if len(span.text) > left:
            if left > 0:
                fitted.append(span._replace(text=span.text[: left - 1] + _ELLIPSIS))
            return tuple(fitted)
        fitted.append(span)
        left -= len(span.text)
    return (*fitted, Span(" " * left))


def shorten(name: str, width: int) -> str:
    """A name in at most ``width`` characters: its end says most, and a method before a path."""
    if len(name) <= width:
        return name
    method, blank, path = name.rpartition(" ")
    room = width - len(method) - len(blank)
    if blank and room >= _LEAST:
        return f"{method} {shorten(path, room)}"
    return _ELLIPSIS + name[len(name) - width + 1 :] if width > 0 else ""


def beside(left: Sequence[Line], right: Sequence[Line], width: int, gap: int) -> list[Line]:
    """Two blocks side by side, in ``width`` characters."""
    place = (width - gap) // 2
    rows = max(len(left), len(right))
    return [
        (
            *fit(left[row] if row < len(left) else (), place),
            Span(" " * gap),
            *(right[row] if row < len(right) else ()),
        )
        for row in range(rows)
    ]


def table(columns: Sequence[Column], rows: Iterable[Sequence[Span]], width: int) -> list[Line]:
    """A table with its head, as wide as ``width``; the last columns go where there is no room."""
    shown = len(columns)
    while shown > 1 and _room(columns[:shown], width) < _LEAST:
        shown -= 1
    flexible = _room(columns[:shown], width)
    head = [Span(column.title, "dim") for column in columns]
    return [
        tuple(
            Span(f"{shorten(cell.text, flexible):{flexible}}", cell.style)
            if not column.width
            else Span(f" {cell.text:>{column.width}}", cell.style)
            for column, cell in zip(columns[:shown], cells[:shown], strict=True)
        )
        for cells in (head, *rows)
    ]


def _room(columns: Sequence[Column], width: int) -> int:
    """What is left for the flexible column."""
    return width - sum(1 + column.width for column in columns if column.width)
