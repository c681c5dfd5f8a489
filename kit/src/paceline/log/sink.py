"""Writes lines to a stream, and survives a stream that breaks.

Records of one round of the event loop leave in one write at its end: a system call for each would
cost a busy server more than making the record. Warnings, errors, and records written outside a loop
leave at once, with those that wait before them; so a crash loses at most the ordinary records of
the last round, and the order is kept. Several processes may share a pipe: a write is no longer than
what the system keeps together, unless one line is. When the reader of a pipe is gone, the process
goes on without a log: the descriptor is pointed at the null device, since the interpreter would
fail at exit for what is left in the buffer.
"""

import contextlib
import os
import select
import stat
from asyncio import get_running_loop
from collections import deque
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, TextIO

from paceline.log.tail import Tail

_MAX_LINES: Final = 500


class Sink:
    """Writes lines to the binary buffer of a text stream, which it does not own or close.

    ``before_write`` is called before lines are written, and must not raise.
    """

    __slots__ = (
        "_broken", "_buffer", "_lines", "_max_write", "_stream", "_tail", "before_write",
    )  # fmt: skip

    def __init__(self, stream: TextIO, tail: Tail) -> None:
        self._tail = tail
        self.before_write: Callable[[], None] | None = None
        # Kept although only its buffer is used: a text stream closes its buffer when it is freed.
        self._stream = stream
        self._buffer = stream.buffer
        self._broken = False
        self._max_write = select.PIPE_BUF if _is_pipe(self._buffer) else 0
        # A deque, whose two ends are safe to use from any thread.
        self._lines: deque[bytes] = deque()

    def write(self, line: bytes, *, at_once: bool) -> None:
        """Write one line, line end included. Never raises: what cannot be written is dropped."""
        lines = self._lines
        lines.append(line)
        if at_once or len(lines) >= _MAX_LINES:
            self.flush()
        elif len(lines) == 1:
            try:
                get_running_loop().call_soon(self.flush)
            except RuntimeError:  # No loop is running: nothing would flush it later.
                self.flush()

    def flush(self) -> None:
        """Write the lines that wait. Never raises."""
        lines: list[bytes] = []
        with contextlib.suppress(IndexError):
            while True:
                lines.append(self._lines.popleft())
        if not lines:
            return
        self._tail.add(lines)
        if self._broken:
            return
        if self.before_write is not None:
            self.before_write()
        try:
            for piece in _pieces(lines, self._max_write) if self._max_write else (b"".join(lines),):
                self._buffer.write(piece)
                self._buffer.flush()
        except BrokenPipeError:
            self._broken = True
            self._discard()
        except ValueError:  # The stream was closed.
            self._broken = True
        except OSError:  # The disk may be full; later records may pass.
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


def _pieces(lines: list[bytes], limit: int) -> Iterator[bytes]:
    """Lines joined up to ``limit`` bytes; a longer line is a piece of its own."""
    piece, size = list[bytes](), 0
    for line in lines:
        if piece and size + len(line) > limit:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    yield b"".join(piece)
