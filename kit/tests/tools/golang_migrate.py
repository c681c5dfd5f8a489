"""Builds the real golang-migrate command line once, and prints the path of the binary.

The version is pinned, because the tests compare with its behaviour, and it is part of the path,
so a new pin builds anew. What is missing is said on stderr, with exit code 1: the tests skip with
that message. Needs Go, and the network for the first build only.
Run by ``integration/test_migrate_golang.py``; also by hand, to look at what the real one does.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "v4.20.1"
_PACKAGE = "github.com/golang-migrate/migrate/v4/cmd/migrate"
_CACHE = Path(__file__).resolve().parents[3] / "bench" / ".cache" / "bin"
_BUILD_TIMEOUT = 540.0


def main() -> int:
    """Print the binary's path, building it if need be."""
    folder = _CACHE / f"golang-migrate-{VERSION}"
    binary = folder / "migrate"
    if not binary.exists():
        problem = _build(folder)
        if problem:
            sys.stderr.write(f"no golang-migrate to compare with: {problem}\n")
            return 1
    sys.stdout.write(f"{binary}\n")
    return 0


def _build(folder: Path) -> str:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        return "Go is not installed"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            [go, "install", "-tags", "postgres", f"{_PACKAGE}@{VERSION}"],
            env={**os.environ, "GOBIN": str(folder), "GOFLAGS": ""},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_BUILD_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"it did not build within {_BUILD_TIMEOUT:g}s"
    return done.stderr.strip() if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
