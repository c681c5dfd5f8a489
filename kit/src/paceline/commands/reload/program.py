"""The program that a child runs: the same as this one, in an interpreter that was there before.

A child imports libraries first and then runs the program as the interpreter would have, as
``__main__``, so a service in one file is no special case.
"""

import os
import runpy
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, Literal, Self, TypeAlias

from paceline.errors import Code, Error

Kind: TypeAlias = Literal["script", "module"]
_PACKAGE: Final = __name__.rpartition(".")[0]
_MANY: Final = 3


@dataclass(frozen=True, slots=True)
class Program:
    """A script or a module with its arguments; ``options`` are the interpreter's."""

    options: tuple[str, ...]
    kind: Kind
    target: str
    arguments: tuple[str, ...]

    @classmethod
    def this(cls) -> Self:
        """The one that runs. Errors: Error(FAILED_PRECONDITION) for ``python -c``."""
        arguments = sys.argv[1:]
        *options, target = sys.orig_argv[1 : len(sys.orig_argv) - len(arguments)]
        if options and options[-1] == "-c":
            message = "--reload needs a program in a file: put it into one"
            raise Error(Code.FAILED_PRECONDITION, message)
        if options and options[-1] == "-m":
            return cls(tuple(options[:-1]), "module", target, tuple(arguments))
        return cls(tuple(options), "script", target, tuple(arguments))

    @property
    def command(self) -> Sequence[str]:
        """Starts a child that waits until it may run this."""
        start = (*self.options, "-P", "-m", _PACKAGE)
        return (sys.executable, *start, self.kind, self.target, *self.arguments)

    def run(self) -> None:
        """Run it in this process. Errors: whatever it raises, ``SystemExit`` as a rule."""
        sys.argv = [self.target, *self.arguments]
        if self.kind == "script":
            sys.path.insert(0, str(Path(self.target).resolve().parent))
            runpy.run_path(self.target, run_name="__main__")
        else:
            sys.path.insert(0, str(Path.cwd()))
            runpy.run_module(self.target, run_name="__main__", alter_sys=True)


def preload(modules: Sequence[str]) -> None:
    """Import what can be imported; the program finds out about the rest by itself."""
    for name in modules:
        with suppress(Exception):
            import_module(name)


def loaded_libraries(roots: Sequence[str]) -> list[str]:
    """The modules that this process has imported, without those whose files are below ``roots``."""
    found: list[str] = []
    for name, module in [*sys.modules.items()]:
        file = getattr(module, "__file__", None)
        if name != "__main__" and file is not None and not _is_source(file, roots):
            found.append(name)
    return found


def explain_failure(failure: BaseException, roots: Sequence[str]) -> str:
    """The traceback in short: the lines of the service's own source, and what went wrong."""
    shown = traceback.TracebackException.from_exception(failure)
    frames = [frame for frame in shown.stack if _is_source(frame.filename, roots)]
    if not frames and not isinstance(failure, SyntaxError):
        frames = [*shown.stack][-_MANY:]
    lines = [
        f"{_short(frame.filename)}:{frame.lineno} in {frame.name}\n    {frame.line}\n"
        for frame in frames
    ]
    return "".join([*lines, *shown.format_exception_only()])


def find_syntax_error(files: Sequence[str]) -> str:
    """What is wrong with the first of the Python files that does not parse; "" if all do.

    So a child that waits is not spent on it.
    """
    for file in files:
        try:
            if file.endswith(".py") and Path(file).exists():
                compile(Path(file).read_bytes(), _short(file), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as exc:
            return "".join(traceback.format_exception_only(exc))
        except OSError:
            continue
    return ""


def _is_source(file: str, roots: Sequence[str]) -> bool:
    for root in roots:
        if file.startswith(root + os.sep):
            parts = Path(file[len(root) :]).parts
            return not any(part == "site-packages" or part.startswith(".") for part in parts)
    return False


def _short(file: str) -> str:
    return os.path.relpath(file) if file.startswith(str(Path.cwd())) else file
