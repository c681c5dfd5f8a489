"""Context fields: what every record of this task, and of the tasks it starts, carries.

A context variable holds one mapping, which is replaced and never changed, so tasks cannot see each
other's fields. For a request's id; not for identity or tenancy, which are explicit arguments.
`push_fields` and `pop_fields` are the cheap form, for middleware, `context_fields` the plain one.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Final

_NOTHING: Final[Mapping[str, object]] = {}
_fields: ContextVar[Mapping[str, object]] = ContextVar("paceline_log_fields", default=_NOTHING)


def current_fields() -> Mapping[str, object]:
    """The context fields of this task."""
    return _fields.get()


def push_fields(fields: Mapping[str, object]) -> Token[Mapping[str, object]]:
    """Add context fields until `pop_fields`; the mapping must not change afterwards."""
    outer = _fields.get()
    return _fields.set({**outer, **fields} if outer else fields)


def pop_fields(token: Token[Mapping[str, object]]) -> None:
    """Remove what the `push_fields` that returned ``token`` added."""
    _fields.reset(token)


@contextmanager
def context_fields(**fields: object) -> Generator[None]:
    """Add fields to every record that is written inside the block.

        with context_fields(request_id=request_id):
            await handle(request)

    Tasks that are started inside have the fields, too.
    """
    token = push_fields(fields)
    try:
        yield
    finally:
        pop_fields(token)
