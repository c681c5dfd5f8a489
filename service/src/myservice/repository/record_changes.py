"""The log of record changes: written with each change, read once and in order, kept for an hour.

Concurrent transactions commit in any order, so a reader must not pass a row that is yet to appear.
Each row has ``settled``: the highest transaction id that had ended when its statement began, or its
own if that is higher. Below the oldest running transaction, X, all rows are there for ever: their
own transactions are older still, hence over. So "settled < X" is read and nothing is missed.
In order: who changes a record next holds its lock, so the one before has ended; its settled is
then at least that one's, and its ``seq``, drawn under the lock, higher. The own id alone would not
do: an id is taken with a batch's first lock, and the older of two may be the later one on a record.
A long transaction anywhere in the server delays the stream and loses nothing. Implements
``service.feed.ChangeLog``; ``repository.records`` writes.
"""

from dataclasses import dataclass
from typing import Final, LiteralString
from uuid import UUID

import msgspec

from myservice.domain.record_updates import RecordUpdate
from myservice.domain.records import Record
from myservice.service.position import END_OF_SEQ, Position, encode_position
from myservice.service.record_updates import Change, Page
from paceline.errors import wrap
from paceline.postgres import Pool, Row

CHANNEL: Final = "record_changes"
"""Notified after commits, never inside: that would queue all commits of the database up."""

# To be computed in a statement that begins when the records are locked; an insertion locks nobody's
# record, for an id is never used twice. Numbers, not xid8: that type knows no subtraction.
SETTLED: Final[LiteralString] = """
    SELECT greatest(
        pg_current_xact_id()::text::bigint,
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1
    )
"""
_NOW: Final[LiteralString] = """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint
"""
# One statement, so one snapshot: what is final, what is still kept, and the changes.
_READ: Final[LiteralString] = f"""
    SELECT
        this.open, ($1, $2) < (floor.settled, floor.seq) OR $1 >= this.open AS gap,
        c.settled, c.seq, c.kind, c.record_id, c.version, c.changed_at, c.name, c.name_before,
        c.metadata, c.data, c.created_at, c.updated_at
    FROM ({_NOW}) AS this (open)
    CROSS JOIN record_changes_floor AS floor
    LEFT JOIN LATERAL (
        SELECT
            settled, seq, kind, record_id, version, changed_at, name, name_before,
            metadata, data, created_at, updated_at
        FROM record_changes
        WHERE (settled, seq) > ($1::bigint, $2::bigint) AND settled < this.open
        ORDER BY settled, seq LIMIT $3
    ) AS c ON true
    ORDER BY c.settled, c.seq
"""
# One process trims at a time; the others need not even look.
_MY_TURN: Final[LiteralString] = """
    SELECT pg_try_advisory_xact_lock(hashtextextended('record_changes', 0))
"""
# Among the oldest by position only: nothing is indexed by time, and the log is long.
_EDGE: Final[LiteralString] = """
    SELECT settled, seq FROM (
        SELECT settled, seq, changed_at FROM record_changes ORDER BY settled, seq LIMIT $2
    ) AS oldest
    WHERE changed_at < now() - make_interval(secs => $1)
    ORDER BY settled DESC, seq DESC LIMIT 1
"""
_TRIM: Final[LiteralString] = "DELETE FROM record_changes WHERE (settled, seq) <= ($1, $2)"
_RAISE_FLOOR: Final[LiteralString] = """
    UPDATE record_changes_floor SET settled = $1, seq = $2 WHERE (settled, seq) < ($1, $2)
"""
_BESIDE: Final = 512  # bytes that an update takes beside its texts


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """A replacement or, without ``record``, a deletion; ``name_before`` only if it was another."""

    record_id: UUID
    version: int
    name: str
    name_before: str | None
    record: Record | None


class PgChanges:
    """The table ``record_changes``, read."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._decode_metadata = msgspec.json.Decoder(dict[str, str]).decode

    async def now(self) -> Position:
        """The position after everything that is final; what is under way comes after it."""
        with wrap("position of record changes"):
            return _before(await self._pool.fetchval(_NOW))

    async def read(self, after: Position, limit: int) -> Page:
        """Up to ``limit`` changes after a position."""
        with wrap("read record changes"):
            rows = await self._pool.fetch(_READ, after.settled, after.seq, limit)
            now = _before(rows[0]["open"])
            if rows[0]["gap"]:
                return Page([], now, more=False, gap=True)
            changes = [self._change(row) for row in rows if row["seq"] is not None]
            more = len(changes) == limit
            return Page(changes, changes[-1].position if more else max(after, now), more=more)

    async def trim(self, keep: float, limit: int) -> int:
        """Delete up to ``limit`` changes older than ``keep`` seconds; how many that were."""
        with wrap("trim record changes"):
            async with self._pool.transaction() as tx:
                if not await tx.fetchval(_MY_TURN):
                    return 0
                edge = await tx.fetchrow(_EDGE, keep, limit)
                if edge is None:
                    return 0
                await tx.execute(_RAISE_FLOOR, edge["settled"], edge["seq"])
                tag = await tx.execute(_TRIM, edge["settled"], edge["seq"])
                return int(tag.split()[-1])

    def _change(self, row: Row) -> Change:
        position = Position(row["settled"], row["seq"])
        metadata: str | None = row["metadata"]
        record, size = None, _BESIDE
        if metadata is not None:
            size += len(metadata) + len(row["data"])
            record = Record(
                row["record_id"],
                row["name"],
                self._decode_metadata(metadata),
                msgspec.Raw(row["data"]),
                row["version"],
                row["created_at"],
                row["updated_at"],
            )
        update = RecordUpdate(
            encode_position(position),
            row["kind"],
            row["record_id"],
            row["version"],
            record,
            row["changed_at"],
        )
        return Change(position, row["name"], row["name_before"], size, update)


def _before(running: int) -> Position:
    """Where everything below the transaction ``running`` has been seen."""
    return Position(running - 1, END_OF_SEQ)
