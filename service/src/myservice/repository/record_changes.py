"""The log of record changes: written with each change, read once and in order, kept for an hour.

Concurrent transactions commit in any order, so a reader must not pass a row that is not visible
yet. Each row has ``settled``: the highest transaction id that had ended when its statement began,
or its own if that is higher. Let X be the oldest running transaction. No row with ``settled`` below
X can appear any more: its own transaction is older than X, hence over. So reading "settled < X"
misses nothing.

The changes of one record come in order: a later change holds the record's lock, so the earlier
transaction has ended; the later ``settled`` is at least the earlier one, and the later ``seq``,
drawn under the lock, is higher. Rejected: the own transaction id alone, because an id is taken at a
batch's first lock, and the older of two transactions may be the later one on a record. A long
transaction anywhere in the server delays the stream and loses nothing.
"""

from collections.abc import Sequence
from typing import Final, LiteralString

import msgspec

from myservice.domain.record_updates import END_OF_SEQ, Position, RecordUpdate
from myservice.domain.records import Record
from myservice.service.record_updates import Change, ChangePage, encode_position
from paceline.errors import wrap
from paceline.postgres import Connection, Pool, Row, TableChange

CHANNEL: Final = "record_changes"
"""Notified after commits: a NOTIFY inside takes a lock that serializes all commits."""

# Computed in a statement that begins when the records are locked. An insertion needs no lock, as an
# id is never used twice. Numbers, not xid8, because that type has no subtraction.
SETTLED: Final[LiteralString] = """
    SELECT greatest(
        pg_current_xact_id()::text::bigint,
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1
    )
"""
_NOW: Final[LiteralString] = """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint
"""
# One statement, so one snapshot: what is final, what is still kept, and the changes. They end with
# the one that reaches $4 bytes; `found` is how many there would have been.
_READ: Final[LiteralString] = f"""
    SELECT
        this.open, ($1, $2) < (floor.settled, floor.seq) OR $1 >= this.open AS gap,
        c.settled, c.seq, c.kind, c.record_id, c.version, c.changed_at, c.name, c.name_before,
        c.metadata, c.data, c.created_at, c.updated_at, c.found
    FROM ({_NOW}) AS this (open)
    CROSS JOIN record_changes_floor AS floor
    LEFT JOIN LATERAL (
        SELECT
            settled, seq, kind, record_id, version, changed_at, name, name_before,
            metadata, data, created_at, updated_at, count(*) OVER () AS found,
            sum(coalesce(octet_length(metadata::text) + octet_length(data::text), 0))
                OVER (ORDER BY settled, seq ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW) AS before
        FROM (
            SELECT
                settled, seq, kind, record_id, version, changed_at, name, name_before,
                metadata, data, created_at, updated_at
            FROM record_changes
            WHERE (settled, seq) > ($1::bigint, $2::bigint) AND settled < this.open
            ORDER BY settled, seq LIMIT $3
        ) AS next
    ) AS c ON coalesce(c.before, 0) < $4
    ORDER BY c.settled, c.seq
"""
# One process trims at a time; the others skip this turn.
_TRY_LOCK: Final[LiteralString] = """
    SELECT pg_try_advisory_xact_lock(hashtextextended('record_changes', 0))
"""
# Looks only at the oldest by position, because there is no index by time.
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
_OVERHEAD: Final = 512  # bytes that an update takes besides its texts

_RECORD_COLUMNS: Final = "id, name, metadata, data, version, created_at, updated_at"
# The log's rows are inserted by the same statement: one round trip, and nothing is sent twice.
INSERT_RECORDS: Final[LiteralString] = f"""
    WITH new AS (
        INSERT INTO records ({_RECORD_COLUMNS})
        SELECT * FROM unnest(
            $1::uuid[], $2::text[], $3::jsonb[], $4::json[],
            $5::bigint[], $6::timestamptz[], $7::timestamptz[]
        )
        RETURNING {_RECORD_COLUMNS}
    )
    INSERT INTO record_changes (
        settled, kind, record_id, version, name, metadata, data, created_at, updated_at
    )
    SELECT ({SETTLED}), 'created', id, version, name, metadata, data, created_at, updated_at
    FROM new
"""
_LOG_CHANGES: Final[LiteralString] = f"""
    INSERT INTO record_changes (
        settled, kind, record_id, version, name, name_before, metadata, data, created_at, updated_at
    )
    SELECT ({SETTLED}), * FROM unnest(
        $1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::text[],
        $6::jsonb[], $7::json[], $8::timestamptz[], $9::timestamptz[]
    )
"""


class PgRecordChanges:
    """The table ``record_changes``: reading and trimming."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._decode_metadata = msgspec.json.Decoder(dict[str, str]).decode

    async def now(self) -> Position:
        """The position after all changes that are final; changes in progress come after it."""
        with wrap("position of record changes"):
            return _position_before(await self._pool.fetchval(_NOW))

    async def read(self, after: Position, limit: int, max_bytes: int) -> ChangePage:
        """Up to ``limit`` changes after a position, up to the one that reaches ``max_bytes``."""
        with wrap("read record changes"):
            rows = await self._pool.fetch(_READ, after.settled, after.seq, limit, max_bytes)
            now = _position_before(rows[0]["open"])
            if rows[0]["gap"]:
                return ChangePage([], now, more=False, gap=True)
            changes = [self._change(row) for row in rows if row["seq"] is not None]
            more = len(changes) == limit or (bool(changes) and rows[0]["found"] > len(changes))
            return ChangePage(changes, changes[-1].position if more else max(after, now), more=more)

    async def trim(self, keep: float, limit: int) -> int:
        """Delete up to ``limit`` changes older than ``keep`` seconds; gives how many."""
        with wrap("trim record changes"):
            async with self._pool.transaction() as tx:
                if not await tx.fetchval(_TRY_LOCK):
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
        record, size = None, _OVERHEAD
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


def _position_before(running: int) -> Position:
    """The position after all changes that settled before the transaction ``running``."""
    return Position(running - 1, END_OF_SEQ)


async def log_changes(tx: Connection, changes: Sequence[TableChange[Record]]) -> None:
    """Write replacements and deletions of records, in their transaction."""
    records = [change.item for change in changes]
    before = [change.before["name"] for change in changes]
    names = [
        name if record is None else record.name
        for name, record in zip(before, records, strict=True)
    ]
    await tx.execute(
        _LOG_CHANGES,
        [change.kind for change in changes],
        [change.id for change in changes],
        [change.version for change in changes],
        names,
        [old if old != new else None for old, new in zip(before, names, strict=True)],
        [_json(record.metadata) if record else None for record in records],
        [_json(record.data) if record else None for record in records],
        [record.created_at if record else None for record in records],
        [record.updated_at if record else None for record in records],
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
