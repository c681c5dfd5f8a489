"""The output of a server: this run's log file and the previous one, so that they do not grow.

The file is the server's standard output, readable by the current account only; its end becomes part
of the error when the server ends, because nothing else says why. Rejected: reading it line by line
into the process's own log, which blocks the server when the reader is slow.
"""

import os
from pathlib import Path
from typing import IO, Final

_TAIL_LINES: Final = 12
_TAIL_BYTES: Final = 4096


class ServerLog:
    """The log file of one server."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rotate(self) -> None:
        """Begin a new file and keep the previous one."""
        if self._path.exists():
            self._path.replace(self._path.with_suffix(".log.1"))

    def open(self) -> IO[bytes]:
        """The file to append to and read. *Resources*: the caller closes it."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(file, "ab+")

    def tail(self) -> str:
        """The end of the log, and where the rest is, for an error's message."""
        with self.open() as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"The end of {self._path}:", *lines])
