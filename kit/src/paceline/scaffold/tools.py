"""What the commands have other programs do: ruff, protoc and git, and what they show meanwhile."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Never, ParamSpec

from paceline.commands import USAGE, fail
from paceline.scaffold.errors import ScaffoldError

P = ParamSpec("P")
PROTOS_TOOL: Final = "tools/protos.py"
_EXTRA: Final = "pip install 'paceline[scaffold]'"


def say(line: str) -> None:
    """A line for people, on stderr: what is being done."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def report_errors(command: Callable[P, None]) -> Callable[P, None]:
    """``command`` that ends with one sentence where it raises `ScaffoldError`."""

    @wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ScaffoldError as exc:
            _end(exc)

    return call


def _end(exc: ScaffoldError) -> Never:
    fail(str(exc), code=USAGE if exc.usage else 1)


def check_tools(*, protos: bool) -> None:
    """Errors: ScaffoldError without ruff or, for ``protos``, without protoc and its plugins."""
    needed = {"ruff": "ruff"}
    if protos:
        needed |= {"grpc_tools": "grpcio-tools", "mypy_protobuf": "mypy-protobuf"}
    missing = [name for module, name in needed.items() if find_spec(module) is None]
    if missing:
        raise ScaffoldError(f"{' and '.join(missing)} is not installed: {_EXTRA}")


def tidy(root: Path, paths: Sequence[str] = (".",)) -> None:
    """Sort imports and format ``paths`` of a project, by the project's own configuration.

    Only what ruff fixes by itself is touched. Errors: ScaffoldError when a file cannot be parsed.
    """
    _ruff(root, "check", "--fix-only", "--select", "I,F401", *paths)
    _ruff(root, "format", *paths)


def unwrap(root: Path, paths: Sequence[str]) -> None:
    """Let what was broken over lines for the sake of a line that is gone be one line again."""
    if not paths:
        return
    loose = ["--config", "format.skip-magic-trailing-comma=true"]
    sorting = ["--config", "lint.isort.split-on-trailing-comma=false"]
    _ruff(root, "check", "--fix-only", "--select", "I,F401", *sorting, *loose, *paths)
    _ruff(root, "format", *loose, *paths)


def _ruff(root: Path, *words: str) -> None:
    program = shutil.which("ruff", path=str(Path(sys.executable).parent))
    command = [program] if program else [sys.executable, "-m", "ruff"]
    run([*command, *words, "--quiet", "--no-cache"], root, "ruff")


def generate_messages(root: Path) -> None:
    """Generate a project's messages from its protos. Errors: ScaffoldError when protoc refuses."""
    run([sys.executable, PROTOS_TOOL], root, "protoc")


def has_git() -> bool:
    """Whether git can be called."""
    return shutil.which("git") is not None


def git(root: Path, *words: str) -> str:
    """What git prints. Errors: ScaffoldError with what it says when it fails."""
    return run(["git", *words], root, "git")


def is_in_git(root: Path) -> bool:
    """Whether the folder is in a repository's work tree."""
    with suppress(ScaffoldError):
        return has_git() and git(root, "rev-parse", "--is-inside-work-tree").strip() == "true"
    return False


def run(command: Sequence[str | Path], folder: Path, name: str) -> str:
    """What a program prints; ``name`` is for people. Errors: ScaffoldError when it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words, and paths of the project
            command, cwd=folder, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as exc:
        raise ScaffoldError(f"there is no {name} here: install it") from exc
    if done.returncode:
        raise ScaffoldError(f"{name} failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout
