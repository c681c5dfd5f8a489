"""Whose fault it is that a batch failed: one item's, so that its halves may do better, or nobody's.

Bad input is somebody's, an unreachable database is everybody's; and a bug proves nothing about what
was done before it, so a batch of writes is not tried again for one.
"""

from typing import Final

from paceline.errors import Code, Error

# Codes that speak of what was asked for, not of the state of the database or the way to it.
_FAULTS_OF_AN_ITEM: Final = frozenset({
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.ALREADY_EXISTS,
    Code.PERMISSION_DENIED,
    Code.FAILED_PRECONDITION,
    Code.OUT_OF_RANGE,
})  # fmt: skip


def is_about_an_item(exc: Exception) -> bool:
    """Whether a batch that failed so may succeed without one of its items."""
    return isinstance(exc, Error) and exc.code in _FAULTS_OF_AN_ITEM


def may_be_about_a_key(exc: Exception) -> bool:
    """Whether it is worth reading the halves: also after a bug, which one key may have set off."""
    return not isinstance(exc, Error) or is_about_an_item(exc)
