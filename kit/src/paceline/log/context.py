"""Ambient fields: what every record of this task, and of the tasks it starts, carries.

A context variable holding one mapping, replaced and never changed, so tasks cannot see each
other's. Identity and tenancy do not belong here (they are arguments); a request id does.
`push` and `pop` are the cheap pair for middleware, `ambient` the readable form. Read by
``output`` for each record.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Final

_NOTHING: Final[Mapping[str, object]] = {}
_fields: ContextVar[Mapping[str, object]] = ContextVar("paceline_log_fields", default=_NOTHING)


def current() -> Mapping[str, object]:
    """The ambient fields here and now."""
    return _fields.get()


def push(fields: Mapping[str, object]) -> Token[Mapping[str, object]]:
    """Add ambient fields until `pop`; the mapping must not change afterwards."""
    outer = _fields.get()
    return _fields.set({**outer, **fields} if outer else fields)


def pop(token: Token[Mapping[str, object]]) -> None:
    """Take back what the `push` that returned ``token`` added."""
    _fields.reset(token)


@contextmanager
def ambient(**fields: object) -> Generator[None]:
    """Add ambient fields to every record inside the block."""
    token = push(fields)
    try:
        yield
    finally:
        pop(token)
