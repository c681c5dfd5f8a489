"""What is refused when a route or a method is registered, with words on what to write instead.

Invariant: the text names the operation, its handler and the handler's line, so nobody needs the
traceback to find it. A mistake in code and not a failure of a request, so it has no `Code`.
"""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from pathlib import PurePath
from typing import Any


class RegistrationError(TypeError):
    """A route or method that could not be served as it is written. ``handler``: None for all."""

    def __init__(self, operation: str, handler: object, problem: str) -> None:
        where = "" if handler is None else f" ({describe_handler(handler)})"
        super().__init__(f"{operation}{where}: {problem}")


def describe_handler(handler: object) -> str:
    """Its name and its line: "NoteHandler.get_note, notes.py:31"."""
    found: Any = handler
    while isinstance(found, partial):
        found = found.func  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    name = getattr(found, "__qualname__", None)
    if name is None:
        return repr(handler)
    name = name.rpartition("<locals>.")[2]
    code = getattr(inspect.unwrap(found), "__code__", None)
    return f"{name}, {PurePath(code.co_filename).name}:{code.co_firstlineno}" if code else name


def parameters_of(handler: Callable[..., object]) -> list[inspect.Parameter]:
    """Its parameters, as far as it has a signature."""
    try:
        return list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):
        return []


def suggestion(name: str, known: list[str]) -> str:
    """A question that names the nearest of ``known``, or nothing."""
    found = get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]}?" if found else ""
