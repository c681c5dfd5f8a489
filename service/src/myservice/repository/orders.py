"""Orders in PostgreSQL: placed together with their announcements, and looked up.

Implements ``service.orders.OrderRepository``. Calls in flight are one transaction, which writes
their orders and what tells of them (``paceline.postgres.outbox``), so an order is announced if and
only if it exists. An idempotency key is a column of the order that it made: the unique index makes
the second of two replicas wait for the first one's commit, and then give the same answer. How
orders are decided is ``payments``; for the order of locks see ``repository``.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, LiteralString, NamedTuple
from uuid import UUID

import msgspec

from myservice.domain.accounts import AccountNotFound, NotTheOwner
from myservice.domain.ledger import KeyInFlight, KeyReused
from myservice.domain.orders import CREATED_SUBJECT, Order, OrderNotFound, announce
from myservice.repository.payments import pay_all
from myservice.repository.reading import Reads
from myservice.service.orders import Announcement, Placement
from paceline.coalesce import Observer, ReadCoalescer, WriteCoalescer
from paceline.errors import wrap
from paceline.messaging import Message
from paceline.postgres import Connection, Pool, Row
from paceline.postgres.outbox import enqueue
from paceline.trace import propagation_headers

_COLUMNS: Final = """
    id, placed_by, from_id, to_id, amount, reference, created_at, status, reason, decided_at
"""
_GET: Final[LiteralString] = f"SELECT {_COLUMNS} FROM orders WHERE id = ANY($1::uuid[])"
_OWNERS: Final[LiteralString] = "SELECT id, owner FROM accounts WHERE id = ANY($1::uuid[])"
_INSERT: Final[LiteralString] = """
    INSERT INTO orders (
        id, placed_by, debtor, from_id, to_id, amount, reference, created_at, key, fingerprint
    )
    SELECT
        id, placed_by, debtor, from_id, to_id, amount, reference, created_at, key, fingerprint
    FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::bigint[], $7::text[],
        $8::timestamptz[], $9::text[], $10::bytea[]
    ) WITH ORDINALITY AS placed (
        id, placed_by, debtor, from_id, to_id, amount, reference, created_at, key, fingerprint,
        place
    )
    ORDER BY place
    ON CONFLICT (placed_by, key) WHERE key IS NOT NULL DO NOTHING
    RETURNING id
"""
_REMEMBERED: Final[LiteralString] = """
    SELECT
        id, placed_by, key, fingerprint, from_id, to_id, amount, reference, created_at
    FROM unnest($1::text[], $2::text[]) AS asked (placed_by, key)
    JOIN orders USING (placed_by, key)
"""

_Outcome = Order | Exception


class _Placing(NamedTuple):
    """An order on its way, and what is told of it when it is there."""

    placement: Placement
    message: Message


def _nobody() -> None:
    """No relay in this process."""


class PgOrders:
    """The ``orders`` table. ``announced`` is called when messages of placed orders are committed.

    *Resources*: tasks for the trips that are out; `stop` waits for them.
    """

    name = "orders"

    def __init__(
        self,
        pool: Pool,
        reads: Reads | None = None,
        *,
        announced: Callable[[], None] = _nobody,
        observer: Observer | None = None,
    ) -> None:
        self._pool = pool
        self._how = reads or Reads()
        self._announced = announced
        self._in_flight: set[tuple[str, str]] = set()
        self._reads: ReadCoalescer[UUID, Order] = ReadCoalescer(
            self._get_all, name="reading orders", observer=observer
        )
        self._placements: WriteCoalescer[_Placing, Order] = WriteCoalescer(
            self._place_all, name="placing orders", observer=observer
        )

    @property
    def parts(self) -> Sequence[object]:
        """What starts, stops and measures its batches."""
        return (self._reads, self._placements)

    async def place(self, placement: Placement) -> Order:
        """Add the order and announce it; with a key that was used for it already, the order again.

        Errors: AccountNotFound, NotTheOwner; KeyReused, KeyInFlight.
        """
        with wrap("place order {}", placement.order.id):
            # Here, where the caller's trace is ambient: the message is to go on with it.
            placing = _Placing(placement, _message(placement.order))
            if placement.key is None:
                return await self._placements.call(placing)
            place = (placement.key.subject, placement.key.text)
            if place in self._in_flight:
                raise KeyInFlight
            self._in_flight.add(place)
            try:
                return await self._placements.call(placing)
            finally:
                self._in_flight.discard(place)

    async def get(self, order_id: UUID) -> Order:
        """One order. Errors: OrderNotFound."""
        with wrap("query order {}", order_id):
            return await self._reads.call(order_id)

    async def pay_all(
        self, announcements: Sequence[Announcement], at: datetime
    ) -> Sequence[Exception | None]:
        """Decide what is announced, in one transaction; see ``OrderRepository``."""
        with wrap("pay {} orders", len(announcements)):
            return await self._pool.transact(lambda tx: pay_all(tx, announcements, at))

    async def _get_all(self, ids: Sequence[UUID]) -> Mapping[UUID, Order | Exception]:
        rows = await self._how.trip(lambda: self._pool.fetch(_GET, ids))
        found: dict[UUID, Order | Exception] = {row["id"]: _order(row) for row in rows}
        for missing in {*ids} - found.keys() if len(found) < len(ids) else ():
            found[missing] = OrderNotFound()
        return found

    async def _place_all(self, placings: Sequence[_Placing]) -> Sequence[_Outcome]:
        outcomes = await self._pool.transact(lambda tx: _place_all(tx, placings))
        self._announced()
        return outcomes


def _order(row: Row) -> Order:
    paid = row["status"] == "paid"
    return Order(
        row["id"], row["placed_by"], row["from_id"], row["to_id"], row["amount"],
        row["reference"], row["created_at"], row["status"], row["reason"],
        row["id"] if paid else None, row["decided_at"],
    )  # fmt: skip


async def _place_all(tx: Connection, placings: Sequence[_Placing]) -> Sequence[_Outcome]:
    placements = [each.placement for each in placings]
    outcomes = await _refusals(tx, placements)
    accepted = [each for each in placements if each.order.id not in outcomes]
    if accepted:
        outcomes.update(await _insert(tx, accepted))
        new = {each.order.id for each in accepted if outcomes[each.order.id] is each.order}
        await enqueue(tx, [each.message for each in placings if each.placement.order.id in new])
    return [outcomes[each.order.id] for each in placements]


async def _refusals(tx: Connection, placements: Sequence[Placement]) -> dict[UUID, _Outcome]:
    """What would never be paid: without a lock, since accounts neither go nor change hands."""
    ids = {one for each in placements for one in (each.order.from_id, each.order.to_id)}
    owners = {row["id"]: row["owner"] for row in await tx.fetch(_OWNERS, [*ids])}
    refused: dict[UUID, _Outcome] = {}
    for each in placements:
        order = each.order
        unknown = [one for one in (order.from_id, order.to_id) if one not in owners]
        if order.from_id in owners and each.debtor not in (None, owners[order.from_id]):
            refused[order.id] = NotTheOwner()
        elif unknown:
            refused[order.id] = AccountNotFound(f"there is no account {unknown[0]}")
    return refused


async def _insert(tx: Connection, placements: Sequence[Placement]) -> dict[UUID, _Outcome]:
    """Add the orders, by key; those whose key was taken come to what it was taken for."""
    placed = sorted(placements, key=_place_of)
    rows = await tx.fetch(
        _INSERT,
        [each.order.id for each in placed],
        [each.order.placed_by for each in placed],
        [each.debtor for each in placed],
        [each.order.from_id for each in placed],
        [each.order.to_id for each in placed],
        [each.order.amount for each in placed],
        [each.order.reference for each in placed],
        [each.order.created_at for each in placed],
        [each.key.text if each.key else None for each in placed],
        [each.key.fingerprint if each.key else None for each in placed],
    )
    ours = {row["id"] for row in rows}
    outcomes: dict[UUID, _Outcome] = {
        each.order.id: each.order for each in placed if each.order.id in ours
    }
    taken = [(each.key, each) for each in placed if each.key and each.order.id not in ours]
    if taken:
        keys = [key for key, _ in taken]
        before = {
            (row["placed_by"], row["key"]): row
            for row in await tx.fetch(
                _REMEMBERED, [key.subject for key in keys], [key.text for key in keys]
            )
        }
        for key, each in taken:
            row = before[key.subject, key.text]
            same = row["fingerprint"] == key.fingerprint
            outcomes[each.order.id] = _as_placed(row) if same else KeyReused()
    return outcomes


def _place_of(placement: Placement) -> tuple[str, str]:
    return (placement.key.subject, placement.key.text) if placement.key else ("", "")


def _as_placed(row: Row) -> Order:
    """The first answer: the order as it was then, whatever became of it."""
    return Order(
        row["id"], row["placed_by"], row["from_id"], row["to_id"], row["amount"],
        row["reference"], row["created_at"],
    )  # fmt: skip


def _message(order: Order) -> Message:
    return Message(
        CREATED_SUBJECT,
        msgspec.json.encode(announce(order)),
        f"{order.id}.created",
        str(order.id),
        propagation_headers(),
    )
