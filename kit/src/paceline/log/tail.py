"""The last lines of the log, in memory, for reading them from a running process.

Lines are numbered from the start of the process, so a reader that passes the last number it has
seen gets what is new, and recognises by a gap that it missed some. Invariant: memory is bounded, in
lines and in the length of each. Lines are kept as they were written, with secrets masked; colours
for a terminal are removed.
"""

import re
from collections import deque
from collections.abc import Sequence
from itertools import islice
from threading import Lock
from typing import Final

_COLOURS: Final = re.compile(rb"\x1b\[[0-9;]*m")
_MAX_LINES: Final = 500
_MAX_LENGTH: Final = 4096


class Tail:
    """Keeps the last ``lines`` lines, each up to ``max_length`` bytes. Thread-safe."""

    __slots__ = ("_kept", "_lock", "_max_length", "_written")

    def __init__(self, *, lines: int = _MAX_LINES, max_length: int = _MAX_LENGTH) -> None:
        self._kept: deque[bytes] = deque(maxlen=lines)
        self._max_length = max_length
        self._written = 0
        self._lock = Lock()

    def add(self, lines: Sequence[bytes]) -> None:
        """Keep these lines, the oldest first."""
        max_length = self._max_length
        short = [line if len(line) <= max_length else line[:max_length] for line in lines]
        with self._lock:
            self._kept.extend(short)
            self._written += len(short)

    def after(self, number: int) -> tuple[int, list[str]]:
        """The lines after number ``number``, as far as they are kept, and the last one's number.

        A number that was never reached comes from another process: it gets all lines.
        """
        with self._lock:
            written, kept = self._written, len(self._kept)
            new = written - number if 0 <= number <= written else kept
            lines = [*islice(self._kept, max(0, kept - new), None)]
        return written, [
            _COLOURS.sub(b"", line).rstrip().decode(errors="replace") for line in lines
        ]
