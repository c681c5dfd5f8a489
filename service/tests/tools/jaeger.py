"""Builds Jaeger, a trace store, once, and prints the path of the binary; with ``--built``, only if it is there.

Its module replaces another's, which ``go install`` refuses, so it is built as the tool of a module
made for it. That takes minutes, and Go and the network: what is missing is said on stderr, with exit
code 1. Run by ``e2e/test_traces.py``; ``make trace`` asks for the build.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE, VERSION = "github.com/jaegertracing/jaeger/cmd/jaeger", "v1.76.0"
_CACHE = Path(__file__).resolve().parents[3] / "bench" / ".cache" / "bin"
_BUILD_TIMEOUT = 3600.0


def main(*, build: bool) -> int:
    """Print the binary's path."""
    binary = _CACHE / f"jaeger-{VERSION}" / "jaeger"
    if not binary.exists():
        problem = _build(binary) if build else "building it takes minutes: `make trace` does"
        if problem:
            sys.stderr.write(f"no jaeger: {problem}\n")
            return 1
    sys.stdout.write(f"{binary}\n")
    return 0


def _build(binary: Path) -> str:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        return "Go is not installed"
    module = binary.parent / "module"
    shutil.rmtree(module, ignore_errors=True)
    module.mkdir(parents=True)
    for words in (
        ("mod", "init", "jaegertool"),
        ("get", "-tool", f"{PACKAGE}@{VERSION}"),
        ("build", "-o", str(binary), PACKAGE),
    ):
        try:
            done = subprocess.run(
                [go, *words],
                env={**os.environ, "GOFLAGS": ""},
                cwd=module,
                capture_output=True,
                text=True,
                check=False,
                timeout=_BUILD_TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return f"it did not build within {_BUILD_TIMEOUT:g}s"
        if done.returncode:
            return done.stderr.strip()
    return ""


if __name__ == "__main__":
    sys.exit(main(build="--built" not in sys.argv))
