"""The end of the line: bytes to a stream, and a broken stream is nobody's failure.

Records written in one round of the event loop leave together, in one write at its end: a system
call for each would cost a busy server more than making the record. Warnings and errors, and records
written outside a loop, go at once, with what waits before them; so a crash can lose no more than
the last round's ordinary records, and order is kept. Several processes may write to one pipe: a
write is no longer than what the system keeps together, unless one line is. When whoever read our
output is gone (a closed pipe), the service goes on without a log: the descriptor is pointed at the
null device, or the interpreter would fail at exit for what is left in the buffer. What was written
is remembered for a while (``tail``), also then. Used by
``output``; ``setup`` flushes it at exit.
"""

import contextlib
import os
import select
import stat
from asyncio import get_running_loop
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, Final, TextIO

from paceline.log.tail import Tail

_MOST_LINES: Final = 500


class Sink:
    """Writes lines to the binary buffer of a text stream. Not the stream's owner: never closes."""

    __slots__ = ("_buffer", "_gone", "_lines", "_most", "_stream", "_tail")

    def __init__(self, stream: TextIO, tail: Tail) -> None:
        self._tail = tail
        # Kept although only its buffer is used: a text stream nobody holds closes its buffer.
        self._stream = stream
        self._buffer = stream.buffer
        self._gone = False
        self._most = select.PIPE_BUF if _is_pipe(self._buffer) else 0
        # A deque, whose two ends are safe to use from any thread.
        self._lines: deque[bytes] = deque()

    def write(self, line: bytes, *, at_once: bool) -> None:
        """Write one line, with its end. Never raises: what cannot be written is dropped."""
        lines = self._lines
        lines.append(line)
        if at_once or len(lines) >= _MOST_LINES:
            self.flush()
        elif len(lines) == 1:
            try:
                get_running_loop().call_soon(self.flush)
            except RuntimeError:  # No loop is running: nobody would come back to it.
                self.flush()

    def flush(self) -> None:
        """Write what waits. Never raises."""
        lines: list[bytes] = []
        with contextlib.suppress(IndexError):
            while True:
                lines.append(self._lines.popleft())
        if not lines:
            return
        self._tail.add(lines)
        if self._gone:
            return
        try:
            for piece in _pieces(lines, self._most) if self._most else (b"".join(lines),):
                self._buffer.write(piece)
                self._buffer.flush()
        except BrokenPipeError:
            self._gone = True
            self._discard()
        except ValueError:  # The stream was closed.
            self._gone = True
        except OSError:  # The disk is full, say: later records may pass.
            return

    def _discard(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(null, self._buffer.fileno())
            finally:
                os.close(null)


def _is_pipe(stream: BinaryIO) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # It has no descriptor, or is closed.
        return False


def _pieces(lines: list[bytes], most: int) -> Iterator[bytes]:
    """Lines joined up to ``most`` bytes; a longer line is a piece of its own."""
    piece, size = list[bytes](), 0
    for line in lines:
        if piece and size + len(line) > most:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    yield b"".join(piece)
