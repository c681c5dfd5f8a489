"""Other people's programs, by way of the scripts that fetch or build them; a test skips without."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_GO_TOOL: Final = Path(__file__).parents[1] / "tools/go_tool.py"


def go_tool(name: str, *flags: str) -> str:
    """The path of one of Go's, built if need be; with ``--built`` only if it was."""
    return printed(_GO_TOOL, name, *flags)


def printed(script: Path, *arguments: str) -> str:
    """What a script prints; the test is skipped when it has nothing, with its reason."""
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(done.stderr.strip())
    return done.stdout.strip()
