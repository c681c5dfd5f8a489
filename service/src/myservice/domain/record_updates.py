"""Updates of records: what a subscriber receives for each committed change.

Invariant: the updates of one record come in order and each change comes once. ``resync`` says that
updates were dropped (a subscriber too slow, a position too old): read the records again, then go
on. What the stream brings after that may already be in what was read, so compare versions.
"""

from datetime import datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID

import msgspec

from myservice.domain.records import Record

END_OF_SEQ: Final = 2**63 - 1
"""The largest ``seq``: a position that has it is after all changes with its ``settled``."""


class Position(NamedTuple):
    """A place in the stream of changes: after the change ``seq`` of those with ``settled``.

    Positions are totally ordered, as the pairs that they are; ``repository.record_changes``
    explains the numbers.
    """

    settled: int
    seq: int


class RecordUpdate(msgspec.Struct, frozen=True):
    """One change of a record, or ``resync``: updates were dropped, read the records again.

    ``position`` is where to resume after this update. ``version`` is the record's new version; for
    a deletion the one that was deleted. ``record`` is its content at that version; null for
    deletions and for ``resync``.
    """

    position: str
    kind: Literal["created", "replaced", "deleted", "resync"]
    id: UUID | None
    version: int | None
    record: Record | None
    at: datetime
