"""Installs a generator of clients for OpenAPI documents once, and prints the folder it is in.

``typescript`` (npm), ``python`` (pip, in an environment of its own) or ``java`` (Maven). Pinned like
the Go tools. What is missing is said on stderr, with exit code 1: the test skips with that message.
Needs the network for the first time only. Run by ``e2e/test_openapi_clients.py``.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CACHE = Path(__file__).resolve().parents[2] / "bench" / ".cache"
_TIMEOUT = 540.0


@dataclass(frozen=True)
class Generator:
    """A program, and the commands that install it; ``{folder}`` is where."""

    version: str
    needs: str
    commands: Sequence[Sequence[str]]


GENERATORS = {
    "typescript": Generator(
        "7.13.0", "npm",
        [("npm", "install", "--no-audit", "--no-fund", "--prefix", "{folder}",
          "openapi-typescript@7.13.0", "typescript@5.9.3")],
    ),
    "python": Generator(
        "0.29.1", "python3",
        [("python3", "-m", "venv", "{folder}"),
         ("{folder}/bin/pip", "install", "--quiet", "openapi-python-client==0.29.1")],
    ),
    "java": Generator(
        "7.25.0", "mvn",
        [("mvn", "--batch-mode", "--quiet", "dependency:copy", "-DoutputDirectory={folder}",
          "-Dartifact=org.openapitools:openapi-generator-cli:7.25.0")],
    ),
}  # fmt: skip


def main(name: str) -> int:
    """Print the folder, filling it if need be."""
    generator = GENERATORS[name]
    folder = _CACHE / f"openapi-{name}-{generator.version}"
    ready = folder / "ready"
    if not ready.exists():
        problem = _install(generator, folder)
        if problem:
            sys.stderr.write(f"no generator for {name}: {problem}\n")
            return 1
        ready.touch()
    sys.stdout.write(f"{folder}\n")
    return 0


def _install(generator: Generator, folder: Path) -> str:
    if shutil.which(generator.needs) is None:
        return f"{generator.needs} is not installed"
    folder.mkdir(parents=True, exist_ok=True)
    for command in generator.commands:
        words = [word.format(folder=folder) for word in command]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, check=False, timeout=_TIMEOUT
            )
        except subprocess.TimeoutExpired:
            return f"{generator.needs} took longer than {_TIMEOUT:g}s"
        if done.returncode:
            return (done.stderr or done.stdout).strip()
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
