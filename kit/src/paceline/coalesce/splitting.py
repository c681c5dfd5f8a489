"""When a failed batch is split: only if one of its items may be the cause.

Invalid input belongs to one item, so the other half of the batch may succeed; an unreachable
database fails all of them, and trying again would multiply the load. After an unexpected exception
reads are split, since one key may have set off the bug; writes are not, since it is unknown what
the batch has done before it.
"""

from typing import Final

from paceline.errors import Code, Error

# Codes about what was asked for, not about the state of the database or the way to it.
_ITEM_CODES: Final = frozenset({
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.ALREADY_EXISTS,
    Code.PERMISSION_DENIED,
    Code.FAILED_PRECONDITION,
    Code.OUT_OF_RANGE,
})  # fmt: skip


def split_writes(exc: Exception) -> bool:
    """Whether a batch of writes that failed with ``exc`` may succeed without one of its items."""
    return isinstance(exc, Error) and exc.code in _ITEM_CODES


def split_reads(exc: Exception) -> bool:
    """The same for a batch of reads, which may be repeated after any bug."""
    return not isinstance(exc, Error) or split_writes(exc)
