"""Call sites: function, file and line of the code that wrote a record.

Finding a line number costs more than the rest of a record, so each call site is described once and
kept under its code object and instruction. The path begins with the top package ("app/main.py"), so
it is the same on every machine.
"""

from pathlib import PurePath
from types import CodeType, FrameType
from typing import Final

import msgspec

# A program has fewer call sites; only code that is generated at run time could exceed this.
_MAX_SITES: Final = 4096


class CallSite(msgspec.Struct, frozen=True, gc=False):
    """One place in the code."""

    function: str
    file: str
    line: int


class CallSites:
    """A cache of call sites."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        # The value keeps the code object alive, so that its id stays unique.
        self._known: dict[tuple[int, int], tuple[CodeType, CallSite]] = {}

    def find(self, frame: FrameType) -> CallSite:
        """The call site that ``frame`` is at."""
        code = frame.f_code
        # Not the code object itself: hashing one hashes all it holds.
        key = (id(code), frame.f_lasti)
        known = self._known.get(key)
        if known is not None:
            return known[1]
        if len(self._known) >= _MAX_SITES:
            self._known.clear()
        module = frame.f_globals.get("__name__")
        site = describe(
            code.co_qualname,
            code.co_filename,
            frame.f_lineno,
            module if isinstance(module, str) else "",
        )
        self._known[key] = (code, site)
        return site


def describe(function: str, path: str, line: int, module: str) -> CallSite:
    """The call site at ``path:line``; ``module`` is the dotted name of its module."""
    return CallSite(function.replace("<locals>.", ""), short_path(path, module), line)


def short_path(path: str, module: str) -> str:
    """The path from the module's top package on, or only the name of the file."""
    parts = PurePath(path).parts
    package = module.partition(".")[0]
    for start in range(len(parts) - 1, -1, -1):
        if parts[start] == package:
            return "/".join(parts[start:])
    return parts[-1] if parts else "?"
