"""Installs the npm client @grpc/grpc-js once, and prints the folder where ``require`` finds it.

Pinned like the Go tools. What is missing is said on stderr, with exit code 1: the test skips with
that message. Needs node and npm, and the network for the first time only. Run by
``e2e/test_grpc_tools.py``.
"""

import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ("@grpc/grpc-js@1.12.6", "@grpc/proto-loader@0.7.13")
_FOLDER = Path(__file__).resolve().parents[2] / "bench" / ".cache" / "grpc-js-1.12.6"
_TIMEOUT = 300.0


def main() -> int:
    """Print the folder, filling it if need be."""
    ready = _FOLDER / "ready"
    if not ready.exists():
        problem = _install()
        if problem:
            sys.stderr.write(f"no @grpc/grpc-js: {problem}\n")
            return 1
        ready.touch()
    sys.stdout.write(f"{_FOLDER}\n")
    return 0


def _install() -> str:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "node and npm are not installed"
    _FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--prefix", _FOLDER, *PACKAGES],
            capture_output=True, text=True, check=False, timeout=_TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"npm took longer than {_TIMEOUT:g}s"
    return done.stderr.strip() if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
