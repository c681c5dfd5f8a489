"""A program on a terminal of its own: what a person types, and what they see."""

import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

# It becomes the terminal's foreground, so that Ctrl-C reaches it and all that it starts.
_ATTACH = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
CTRL_C = "\x03"


class Terminal:
    """A terminal and its program. *Resources*: both, until `close`."""

    def __init__(self, command: list[str], cwd: Path, env: Mapping[str, str]) -> None:
        self._master, slave = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ATTACH, *command],
            cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave,
        )  # fmt: skip
        os.close(slave)
        self._shown = b""
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def shown(self) -> str:
        """All that it has shown."""
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, text: str, seconds: float = 90.0, *, after: int = 0) -> str:
        """Wait until it shows ``text``; what is shown ``after`` that many characters."""
        deadline = time.monotonic() + seconds
        while text not in self.shown[after:]:
            over = self.process.poll() is not None or time.monotonic() > deadline
            assert not over, f"{text!r} is not in:\n{self.shown[after:]}"
            time.sleep(0.02)
        return self.shown[after:]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with suppress(OSError):
            os.close(self._master)

    def _read(self) -> None:
        with suppress(OSError):  # it is closed when the program has ended
            while data := os.read(self._master, 1 << 16):
                self._shown += data


@contextmanager
def terminal(command: list[str], cwd: Path, env: Mapping[str, str]) -> Generator[Terminal]:
    """The program, which has ended when the block has."""
    opened = Terminal(command, cwd, env)
    try:
        yield opened
    finally:
        opened.close()
