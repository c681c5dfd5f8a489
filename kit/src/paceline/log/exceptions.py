"""An exception as fields of a record: its text, its type and, if it was unexpected, a traceback.

The text is the whole chain of causes on one line, as Go prints a wrapped error. The traceback is a
bounded list of "file:line in function", innermost last, followed by causes and grouped exceptions:
no source text and no local values, which may hold what must not be logged. An expected `Error` has
no traceback, unless its code says that something is broken.
"""

from collections.abc import Iterator
from itertools import islice
from types import TracebackType
from typing import Final, cast

from paceline.errors import Code, Error
from paceline.log.call_site import short_path
from paceline.log.redact import masked, plain

_BROKEN: Final = frozenset({Code.UNKNOWN, Code.INTERNAL, Code.DATA_LOSS})
_MAX_LINES: Final = 40
# Of each exception's own frames, from the place it was raised outwards.
_MAX_FRAMES: Final = 16


def exception_fields(key: str, exc: BaseException) -> dict[str, object]:
    """The fields of ``exc`` logged as ``key``: its text, ``key_type``, and maybe ``traceback``."""
    fields: dict[str, object] = {key: plain(exc), f"{key}_type": type_name(exc)}
    if not isinstance(exc, Error) or exc.code in _BROKEN:
        lines = list(islice(_lines(exc, set()), _MAX_LINES))
        if lines:
            fields["traceback"] = lines
    return fields


def type_name(exc: BaseException) -> str:
    """The full name of the exception's type; a built-in type has no module."""
    kind = type(exc)
    return (
        kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    )


def _lines(exc: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(exc))
    yield from _frames(exc.__traceback__)
    if isinstance(exc, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exc)
        for member in group.exceptions:
            yield f"with {type_name(member)}: {plain(member)}"
            yield from _lines(member, seen)
    cause = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    if cause is not None and id(cause) not in seen:
        yield f"{'from' if exc.__cause__ else 'during'} {type_name(cause)}: {plain(cause)}"
        yield from _lines(cause, seen)


def _frames(traceback: TracebackType | None) -> list[str]:
    frames: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        path = short_path(code.co_filename, module)
        function = code.co_qualname.replace("<locals>.", "")
        frames.append(masked(f"{path}:{traceback.tb_lineno} in {function}"))
        traceback = traceback.tb_next
    return frames[-_MAX_FRAMES:]
