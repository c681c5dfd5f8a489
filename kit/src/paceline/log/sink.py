"""The end of the line: bytes to a stream, and a broken stream is nobody's failure.

Each record is one write and one flush, so records of several threads do not mix and a crash
loses none. When whoever read our output is gone (a closed pipe), the service goes on without a
log: the file descriptor is pointed at the null device, as Python's own documentation advises, or
the interpreter would fail at exit for what is left in the buffer. Used by ``output``.
"""

import contextlib
import os
from typing import TextIO


class Sink:
    """Writes lines to the binary buffer of a text stream. Not the stream's owner: never closes."""

    __slots__ = ("_buffer", "_gone", "_stream")

    def __init__(self, stream: TextIO) -> None:
        # Kept although only its buffer is used: a text stream nobody holds closes its buffer.
        self._stream = stream
        self._buffer = stream.buffer
        self._gone = False

    def write(self, line: bytes) -> None:
        """Write one line, with its end. Never raises: what cannot be written is dropped."""
        if self._gone:
            return
        try:
            self._buffer.write(line)
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
