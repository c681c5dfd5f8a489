"""Where a record was written: function, file and line, without the machine's own path.

Finding a line number costs more than the rest of a record, so each call site is described once
and remembered under its code object and instruction. The file is given from the top package on
("app/main.py"), the same on every machine. Used by ``logger`` and ``standard``.
"""

from pathlib import PurePath
from types import CodeType, FrameType
from typing import Final

import msgspec

# Call sites are as many as the program has; only code made at run time could exceed this.
_MOST_SITES: Final = 4096


class CallSite(msgspec.Struct, frozen=True, gc=False):
    """One place in the code."""

    function: str
    file: str
    line: int


class CallSites:
    """The call sites met so far."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        # The code object is kept in the value: while it lives, its id is its own.
        self._known: dict[tuple[int, int], tuple[CodeType, CallSite]] = {}

    def of(self, frame: FrameType) -> CallSite:
        """Where ``frame`` stands."""
        code = frame.f_code
        # Not the code object itself: hashing one hashes all it holds.
        key = (id(code), frame.f_lasti)
        known = self._known.get(key)
        if known is not None:
            return known[1]
        if len(self._known) >= _MOST_SITES:
            self._known.clear()
        module = frame.f_globals.get("__name__")
        source = describe(
            code.co_qualname,
            code.co_filename,
            frame.f_lineno,
            module if isinstance(module, str) else "",
        )
        self._known[key] = (code, source)
        return source


def describe(function: str, path: str, line: int, module: str) -> CallSite:
    """The place ``path:line``; ``module`` is the dotted name of the module it belongs to."""
    return CallSite(function.replace("<locals>.", ""), short_path(path, module), line)


def short_path(path: str, module: str) -> str:
    """The path from the module's top package on, or the file's name alone."""
    parts = PurePath(path).parts
    package = module.partition(".")[0]
    for start in range(len(parts) - 1, -1, -1):
        if parts[start] == package:
            return "/".join(parts[start:])
    return parts[-1] if parts else "?"
