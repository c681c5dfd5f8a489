"""The last lines of the log, in memory: for a look at a process whose output is elsewhere.

They are numbered from the process's start, so who asks again names the last number it has seen and
gets what is new, or finds out by a gap that it came too late. Invariant: memory is bounded, in
lines and in the length of each. Lines come as they were written, secrets masked already; colours
meant for a terminal are taken out. Filled by ``sink``; read by ``admin``.
"""

import re
from collections import deque
from collections.abc import Sequence
from itertools import islice
from threading import Lock
from typing import Final

_COLOURS: Final = re.compile(rb"\x1b\[[0-9;]*m")
_LINES: Final = 500
_LONGEST: Final = 4096


class Tail:
    """Remembers the last ``lines``, each up to ``longest`` bytes. For any thread."""

    __slots__ = ("_kept", "_lock", "_longest", "_written")

    def __init__(self, *, lines: int = _LINES, longest: int = _LONGEST) -> None:
        self._kept: deque[bytes] = deque(maxlen=lines)
        self._longest = longest
        self._written = 0
        self._lock = Lock()

    def add(self, lines: Sequence[bytes]) -> None:
        """Remember these."""
        longest = self._longest
        short = [line if len(line) <= longest else line[:longest] for line in lines]
        with self._lock:
            self._kept.extend(short)
            self._written += len(short)

    def after(self, number: int) -> tuple[int, list[str]]:
        """The lines after that one, as far as they are remembered, and the last one's number.

        A number that was never reached is another process's: it gets everything.
        """
        with self._lock:
            written, kept = self._written, len(self._kept)
            new = written - number if 0 <= number <= written else kept
            lines = [*islice(self._kept, max(0, kept - new), None)]
        return written, [
            _COLOURS.sub(b"", line).rstrip().decode(errors="replace") for line in lines
        ]
