"""A table of versioned items: calls that are in flight together share a statement.

A batch of changes locks its rows in id order, so two replicas cannot deadlock, then decides one by
one in order of arrival, so "not found" and "stale" are distinguished reliably and each change
succeeds or fails by itself. Invariant: what ``on_changes`` does is committed with the changes it is
given, or neither is. Rejected: an UPDATE that compares the version in its WHERE, one a change,
which cannot say why it changed nothing and takes a round trip and a flush to disk for each.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Generic, Literal, LiteralString, cast
from uuid import UUID

import msgspec

from paceline.clock import Clock, SystemClock
from paceline.coalesce import Observer, ReadCoalescer, WriteCoalescer
from paceline.errors import AlreadyExists, wrap
from paceline.idempotency import IdempotencyKey
from paceline.postgres.connection import Connection, Row
from paceline.postgres.errors import DatabaseError
from paceline.postgres.ids import uuid7
from paceline.postgres.keyed_inserts import KeyedInserts
from paceline.postgres.pool import Pool
from paceline.postgres.read_policy import ReadPolicy
from paceline.postgres.table_schema import DraftT, ItemT, Statements, TableSchema

# While one batch waits for the disk or the network a second can run; more would only make batches
# smaller.
_MAX_IN_FLIGHT: Final = 2
# A batch of pages is decoded in one go, during which the loop does nothing else.
_MAX_PAGES: Final = 16
_MAX_SHARED_PAGE: Final = 128
_MAX_PAGE_SIZES: Final = 16
# With the two above what is read at once is bounded, whatever items hold.
_MAX_PAGE_BYTES: Final = 1024 * 1024
_FIRST: Final = UUID(int=0)
_LAST: Final = UUID(int=2**128 - 1)
_CREATED_AT: Final = -2
_LOCKED: Final = 3  # id, version and created_at; behind them is what is remembered


@dataclass(frozen=True, slots=True, eq=False)
class TableChange(Generic[ItemT]):
    """A change that takes effect. ``item`` is None for a deletion.

    ``version``: the item's; of a deletion, the one that was deleted. ``before``: the values of the
    columns named in ``remember``, as they were before this change.
    """

    kind: Literal["created", "replaced", "deleted"]
    id: UUID
    version: int
    item: ItemT | None
    before: Mapping[str, object]


OnChanges = Callable[[Connection, Sequence[TableChange[ItemT]]], Awaitable[None]]


@dataclass(frozen=True, slots=True, eq=False)
class _Request(Generic[DraftT]):
    """One replacement, or a deletion when there is no draft."""

    id: UUID
    draft: DraftT | None
    at: datetime | None
    expected: Collection[int] | None


@dataclass(slots=True, eq=False)
class _Locked(Generic[ItemT]):
    """The state of a locked row after the changes of its batch so far."""

    version: int
    created_at: datetime
    before: Mapping[str, object]
    replaced: ItemT | None = None
    deleted: bool = False


class VersionedTable(Generic[ItemT, DraftT]):
    """A repository of one table: reads by id, pages, and changes that check a version.

        invoices = wiring.add(VersionedTable(pool, INVOICES, reads, observer=wiring.observer))
        invoice = await invoices.create(InvoiceDraft("2026-1", 4200))
        invoice = await invoices.replace(invoice.id, InvoiceDraft("2026-1", 4300), expected={1})

    The parameters of its methods are by position, so that it is an implementation of a Protocol
    that names them in its own way.

    ``insert``: a statement of one's own for insertions, with a parameter for each column, in the
    order of the item's fields: arrays of ids, and so on. ``on_changes`` is called with the changes
    of a batch in its transaction, also with insertions unless there is such a statement.
    ``remember``: columns of which a change tells the former value. ``on_commit`` is called after
    each commit that changed the table. ``clock``: for `create`, and for `replace` without a time.
    ``max_page_bytes``: a page ends with the item that reaches so many bytes in the database.

    Errors: ValueError for ``max_page_bytes`` below 1.

    *Resources*: a task for each batch in flight; `parts` have the methods that start and stop.
    """

    def __init__(
        self,
        pool: Pool,
        schema: TableSchema[ItemT, DraftT],
        reads: ReadPolicy | None = None,
        *,
        insert: LiteralString | None = None,
        on_changes: OnChanges[ItemT] | None = None,
        remember: Sequence[LiteralString] = (),
        on_commit: Callable[[], None] | None = None,
        observer: Observer | None = None,
        clock: Clock | None = None,
        max_page_bytes: int = _MAX_PAGE_BYTES,
    ) -> None:
        if max_page_bytes < 1:
            raise ValueError("max_page_bytes must be at least 1")
        self.name: str = schema.name
        self._pool = pool
        self._schema = schema
        self._policy = reads or ReadPolicy()
        self._on_changes = on_changes
        self._remember = remember
        self._on_commit = on_commit
        self._clock: Clock = clock or SystemClock()
        self._new: Callable[..., ItemT] = schema.item
        self._not_found = schema.not_found
        self._primary_key = schema.primary_key or f"{schema.name.rpartition('.')[2]}_pkey"
        self._columns = schema.resolve()
        self._sql = Statements(
            schema.name, self._columns.columns, remembered=remember, max_page_bytes=max_page_bytes
        )
        self._insert_sql: LiteralString = insert or self._sql.insert
        self._on_inserts = on_changes if insert is None else None
        self._reads: ReadCoalescer[UUID, ItemT] = ReadCoalescer(
            self._get_all,
            name=f"reading {schema.name}",
            max_in_flight=_MAX_IN_FLIGHT,
            observer=observer,
        )
        self._page_sql: dict[int, LiteralString] = {}  # by limit
        self._pages: ReadCoalescer[tuple[UUID, int], list[ItemT]] = ReadCoalescer(
            self._get_pages,
            name=f"reading pages of {schema.name}",
            max_in_flight=_MAX_IN_FLIGHT,
            max_batch=_MAX_PAGES,
            observer=observer,
        )
        self._inserts: WriteCoalescer[ItemT, ItemT] = WriteCoalescer(
            self._insert_all,
            name=f"inserting {schema.name}",
            max_in_flight=_MAX_IN_FLIGHT,
            observer=observer,
        )
        self._keyed_inserts: KeyedInserts[ItemT] = KeyedInserts(
            pool,
            self._insert_in,
            schema.item,
            name=f"inserting {schema.name}",
            on_commit=self._committed,
            observer=observer,
        )
        # One batch at a time: a second would only wait for the first one's locks.
        self._changes: WriteCoalescer[_Request[DraftT], ItemT | None] = WriteCoalescer(
            self._change_all, name=f"changing {schema.name}", observer=observer
        )

    @property
    def parts(self) -> Sequence[object]:
        """What starts, stops and measures its batches."""
        return (self._reads, self._pages, self._inserts, *self._keyed_inserts.parts, self._changes)

    async def get(self, item_id: UUID, /) -> ItemT:
        """One item. Errors: the schema's ``not_found``."""
        with wrap("{}.get({})", self.name, item_id):
            return await self._reads.call(item_id)

    async def page(
        self,
        after: UUID | None,
        limit: int,
        where: LiteralString | None = None,
        /,
        *args: object,
    ) -> list[ItemT]:
        """Up to ``limit`` items by id, after ``after``; those ``where`` a condition holds.

        Fewer where they are large (``max_page_bytes``), but one at least if there are any: none is
        the end, a short page is not.

        The condition's first argument is ``$3``: ``page(None, 20, "amount > $3", 100)``. Pages
        without a condition that are asked for together share a statement, unless they are large.
        """
        if after == _LAST:
            return []
        first = _FIRST if after is None else UUID(int=after.int + 1)
        with wrap("{}.page({})", self.name, after):
            if where is None and limit <= _MAX_SHARED_PAGE:
                return [*await self._pages.call((first, limit))]
            statement = self._sql.page(where)
            rows = await self._policy.page(lambda: self._pool.fetch(statement, first, limit, *args))
            return self._items(rows)

    async def create(self, draft: DraftT, /) -> ItemT:
        """Insert ``draft`` with a new id, as version 1."""
        now = self._now()
        return await self.insert(self._new(uuid7(), *msgspec.structs.astuple(draft), 1, now, now))

    async def insert(self, item: ItemT, key: IdempotencyKey | None = None, /) -> ItemT:
        """Add an item; with a key that was used for it before, gives the first answer again.

        A key needs the table of `IDEMPOTENCY_SCHEMA`, and costs a transaction of three statements.
        Errors: AlreadyExists; with a key KeyReused, KeyInFlight.
        """
        with wrap("{}.insert({})", self.name, item.id):
            try:
                if key is not None:
                    return await self._keyed_inserts.insert(item, key)
                return await self._inserts.call(item)
            except DatabaseError as exc:
                if exc.constraint == self._primary_key:
                    raise AlreadyExists("this id exists already") from exc
                raise

    async def replace(
        self,
        item_id: UUID,
        draft: DraftT,
        at: datetime | None = None,
        expected: Collection[int] | None = None,
        /,
    ) -> ItemT:
        """Replace the content, with the next version; now, unless a time is given.

        ``expected``: the versions that may be replaced; None for any. Errors: the schema's
        ``not_found`` and ``stale``.
        """
        with wrap("{}.replace({})", self.name, item_id):
            item = await self._changes.call(
                _Request(item_id, draft, self._now() if at is None else at, expected)
            )
            if item is None:
                raise RuntimeError("a replacement left no item")
            return item

    async def delete(self, item_id: UUID, expected: Collection[int] | None = None, /) -> None:
        """Remove an item. ``expected`` and errors: as for `replace`."""
        with wrap("{}.delete({})", self.name, item_id):
            await self._changes.call(_Request(item_id, None, None, expected))

    async def _get_all(self, ids: Sequence[UUID]) -> Mapping[UUID, ItemT | Exception]:
        if len(ids) == 1:
            rows = await self._policy.batch(lambda: self._pool.fetch(self._sql.get_one, ids[0]))
        else:
            rows = await self._policy.batch(lambda: self._pool.fetch(self._sql.get, ids))
        found: dict[UUID, ItemT | Exception] = {item.id: item for item in self._items(rows)}
        for missing in {*ids} - found.keys() if len(found) < len(ids) else ():
            found[missing] = self._not_found()
        return found

    async def _get_pages(
        self, pages: Sequence[tuple[UUID, int]]
    ) -> Mapping[tuple[UUID, int], list[ItemT] | Exception]:
        if len(pages) == 1:
            ((first, limit),) = pages
            sql = self._page_of(limit)
            arguments = (first,) if limit in self._page_sql else (first, limit)
            rows = await self._policy.page(lambda: self._pool.fetch(sql, *arguments))
            return {pages[0]: self._items(rows)}
        firsts, limits = zip(*pages, strict=True)
        rows = await self._policy.page(lambda: self._pool.fetch(self._sql.pages, firsts, limits))
        found: list[list[ItemT]] = [[] for _ in pages]
        if rows:
            *columns, numbers = self._columns.decode(rows)
            items = map(self._new, *columns)
            for number, item in zip(cast("Sequence[int]", numbers), items, strict=True):
                found[number - 1].append(item)
        return dict(zip(pages, found, strict=True))

    def _page_of(self, limit: int) -> LiteralString:
        """The statement for a page; a number of limits are in its text and not a parameter.

        A statement with a parameter for its limit is planned each time it runs, since PostgreSQL
        expects a tenth of the table; that is a third of its cost. Not all limits, because a
        connection keeps so many statements only.
        """
        statement = self._page_sql.get(limit)
        if statement is None:
            if len(self._page_sql) >= _MAX_PAGE_SIZES:
                return self._sql.page()
            statement = self._page_sql[limit] = self._sql.page_of(limit)
        return statement

    async def _insert_all(self, items: Sequence[ItemT]) -> Sequence[ItemT]:
        if self._on_inserts is None:
            arrays = self._columns.encode(cast("Sequence[msgspec.Struct]", items))
            await self._pool.execute(self._insert_sql, *arrays)
        else:
            async with self._pool.transaction() as tx:
                await self._insert_in(tx, items)
        self._committed()
        return items

    async def _insert_in(self, tx: Connection, items: Sequence[ItemT]) -> None:
        arrays = self._columns.encode(cast("Sequence[msgspec.Struct]", items))
        await tx.execute(self._insert_sql, *arrays)
        if self._on_inserts is not None:
            changes = [TableChange("created", each.id, each.version, each, {}) for each in items]
            await self._on_inserts(tx, changes)

    async def _change_all(
        self, requests: Sequence[_Request[DraftT]]
    ) -> Sequence[ItemT | Exception | None]:
        async with self._pool.transaction() as tx:
            rows = await tx.fetch(self._sql.lock, [request.id for request in requests])
            locked = {row[0]: self._locked(row) for row in rows}
            changes: list[TableChange[ItemT]] = []
            outcomes = [
                self._change(locked.get(request.id), request, changes) for request in requests
            ]
            await self._replace_all(
                tx, [row.replaced for row in locked.values() if row.replaced and not row.deleted]
            )
            if deleted := [item_id for item_id, row in locked.items() if row.deleted]:
                await tx.execute(self._sql.delete, deleted)
            if changes and self._on_changes is not None:
                await self._on_changes(tx, changes)
        if changes:
            self._committed()
        return outcomes

    def _change(
        self,
        row: _Locked[ItemT] | None,
        request: _Request[DraftT],
        changes: list[TableChange[ItemT]],
    ) -> ItemT | Exception | None:
        """Apply one change to its row, as the earlier changes of the batch have left it."""
        if row is None or row.deleted:
            return self._not_found()
        if request.expected is not None and row.version not in request.expected:
            return self._schema.stale()
        before = row.before
        if request.draft is None:
            row.deleted = True
            changes.append(TableChange("deleted", request.id, row.version, None, before))
            return None
        row.version += 1
        item = row.replaced = self._new(
            request.id,
            *msgspec.structs.astuple(request.draft),
            row.version,
            row.created_at,
            request.at,
        )
        if self._remember:
            row.before = {name: getattr(item, name) for name in self._remember}
        changes.append(TableChange("replaced", request.id, row.version, item, before))
        return item

    async def _replace_all(self, tx: Connection, items: Sequence[ItemT]) -> None:
        if items:
            arrays = self._columns.encode(cast("Sequence[msgspec.Struct]", items))
            del arrays[_CREATED_AT]
            await tx.execute(self._sql.replace, *arrays)

    def _locked(self, row: Row) -> _Locked[ItemT]:
        before = {
            name: self._columns.decode_one(name, row[index])
            for index, name in enumerate(self._remember, _LOCKED)
        }
        return _Locked(row[1], row[2], before)

    def _items(self, rows: Sequence[Row]) -> list[ItemT]:
        columns = self._columns.decode(rows)
        return [*map(self._new, *columns)] if columns else []

    def _committed(self) -> None:
        if self._on_commit is not None:
            self._on_commit()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
