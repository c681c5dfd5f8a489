"""Programs of third parties, fetched or built by scripts; a test is skipped without them."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_GO_TOOL: Final = Path(__file__).parents[1] / "tools/go_tool.py"


def go_tool(name: str, *flags: str) -> str:
    """The path of a Go program, built if necessary; with ``--built`` only if it has been."""
    return printed(_GO_TOOL, name, *flags)


def printed(script: Path, *arguments: str) -> str:
    """The output of a script; the test is skipped when it fails, with its reason."""
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(done.stderr.strip())
    return done.stdout.strip()
