"""A folder whose power can be cut, by the file system of ``powercut``: `power_supply`.

Needs Go (to build it once), root and FUSE; a test is skipped without.
"""

import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

_HERE: Final = Path(__file__).with_name("powercut")
_CACHE: Final = Path(__file__).parents[2] / "bench/.cache/bin"
_DETACH: Final = 2  # MNT_DETACH
_PATIENCE: Final = 20.0


def program() -> Path:
    """The file system, built if its source has changed. The test is skipped without Go."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        pytest.skip("needs Go, to build a file system that loses what is not synced")
    source = b"".join((_HERE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))
    binary = _CACHE / f"powercut-{hashlib.sha256(source).hexdigest()[:16]}"
    if not binary.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [go, "build", "-o", binary, "."], cwd=_HERE, capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"the file system does not build: {done.stderr.strip()}")
    return binary


class PowerSupply:
    """``folder`` is what the servers see. *Resources*: a process and a mount, see `power_supply`."""

    def __init__(self, binary: Path, place: Path) -> None:
        self.folder = place / "seen"
        self._kept = place / "kept"
        self._binary = binary
        self._process: subprocess.Popen[str] | None = None
        for each in (self.folder, self._kept):
            each.mkdir()
            each.chmod(0o755)

    def on(self) -> None:
        """Show what is kept."""
        self._process = subprocess.Popen(
            [self._binary, self._kept, self.folder],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._hear("ready")

    def cut(self) -> int:
        """Nothing can be read or written from now on, and `off` loses what is not synced.

        Returns how many files have something to lose.
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)
        return int(self._hear("cut").split()[1])

    def off(self) -> None:
        """Take the folder away, whoever still has a file of it open."""
        process, self._process = self._process, None
        if process is not None:
            ctypes.CDLL(None).umount2(os.fsencode(self.folder), _DETACH)
            process.terminate()
            said, _ = process.communicate(timeout=_PATIENCE)
            assert process.returncode == 0, said

    def _hear(self, word: str) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith(word), line + self._process.stdout.read()
        return line


@contextmanager
def power_supply(place: Path) -> Generator[PowerSupply]:
    """A folder below ``place`` whose power is on. *Resources*: it, until the end of the block."""
    if os.geteuid() or not Path("/dev/fuse").exists():
        pytest.skip("needs root and FUSE, to mount a file system that loses what is not synced")
    supply = PowerSupply(program(), place)
    supply.on()
    try:
        yield supply
    finally:
        supply.off()
