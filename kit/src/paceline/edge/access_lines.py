"""The access log for people: a request as one line of text, where the log is not JSON.

``POST /api/v1/records  201  9.5 ms  ada  c5f2…0042``: what was asked, how it ended, how long it
took; then who asked, and the request's id. A request that the server failed is red, with the error
below it: the failure belongs to its line, so it is not written as a record of its own. Rejected: a
layout for records with certain fields in the log itself, which would then know what a request is.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from paceline.edge.failure import failure_level
from paceline.log import Cell, Level, Logger, Style, WriteCells, line_writer, short_id

Grade: TypeAlias = Literal["ok", "moved", "refused", "failed"]
"""How a request ended: as asked, elsewhere, by a fault of the caller or of the server."""

_STYLES: Final[dict[Grade, Style]] = {
    "ok": "green", "moved": "cyan", "refused": "yellow", "failed": "bold red",
}  # fmt: skip
_VERB_WIDTH: Final = 4  # "POST", "grpc"
_SECOND: Final = 1.0
_TENTH: Final = 0.1


@dataclass(frozen=True, slots=True)
class EndedRequest:
    """A request that has ended. ``verb``: "POST". ``outcome``: its status. ``failure``: its error.

    ``caller``: who asked; "" when nobody was authenticated.
    """

    verb: str
    target: str
    outcome: str
    grade: Grade
    seconds: float
    caller: str = ""
    request_id: str = ""
    failure: Exception | None = None


class AccessLines:
    """Writes requests as lines; those of ``debug_paths`` at debug level, unless they failed."""

    __slots__ = ("_debug_paths", "_write")

    def __init__(self, write: WriteCells, debug_paths: Collection[str]) -> None:
        self._write = write
        self._debug_paths = frozenset(debug_paths)

    def write(self, path: str, request: EndedRequest) -> None:
        """Write a request's line. ``path``: by which it is polled, or not. Never raises."""
        colour: Style = "bold red" if request.grade == "failed" else ""
        self._write(
            self._level(path, request.failure),
            (
                Cell(f"{request.verb:{_VERB_WIDTH}}", colour),
                Cell(request.target, colour, shrinks=True, attached=True),
                Cell(request.outcome, _STYLES[request.grade]),
                Cell(duration_text(request.seconds)),
                Cell(request.caller, shrinks=True, optional=True),
                Cell(short_id(request.request_id), "dim", optional=True),
            ),
            request.failure,
        )

    def _level(self, path: str, failure: Exception | None) -> Level:
        if failure is None:
            return "debug" if path in self._debug_paths else "info"
        return failure_level(failure)


def access_lines(log: Logger, debug_paths: Collection[str]) -> AccessLines | None:
    """What writes requests as lines; None where the log takes records."""
    write = line_writer(log)
    return None if write is None else AccessLines(write, debug_paths)


def duration_text(seconds: float) -> str:
    """A duration for people: 0.42 ms, 9.5 ms, 120 ms, 1.24 s."""
    if seconds >= _SECOND:
        return f"{seconds:.2f} s"
    milliseconds = seconds * 1000
    if seconds >= _TENTH:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds:.1f} ms" if milliseconds >= 1 else f"{milliseconds:.2f} ms"
