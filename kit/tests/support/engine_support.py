"""What the tests of embedded engines share: folders for their data, and the end of a process."""

import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from paceline.testing.postgres_servers import scratch_folder


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder, in memory where possible."""
    with scratch_folder() as found:
        yield found


@pytest.fixture
def public() -> Generator[Path]:
    """A folder that every account can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def is_gone(pid: int) -> bool:
    """Whether the process has ended, also if its parent has not waited for it yet."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == b""
    except OSError:
        return True
