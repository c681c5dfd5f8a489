"""Orders in PostgreSQL: placed together with their events, and read.

Calls in flight share one transaction, which writes their orders and their events
(``paceline.postgres.outbox``). Invariant: an event exists if and only if its order does. An
idempotency key is a column of the order that it made: the unique index makes the second of two
replicas wait for the first one's commit, and then give the same answer.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, LiteralString, NamedTuple
from uuid import UUID

import msgspec

from myservice.domain.accounts import AccountNotFound, NotTheOwner
from myservice.domain.orders import CREATED_SUBJECT, Order, OrderNotFound, order_created
from myservice.repository.payments import pay_all
from myservice.service.orders import PaymentRequest, Placement
from paceline.coalesce import Observer, ReadCoalescer, WriteCoalescer
from paceline.errors import wrap
from paceline.idempotency import KeyReused, KeysInFlight
from paceline.messaging import Message
from paceline.postgres import Connection, Pool, ReadPolicy, Row
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
_FIRST_ORDERS: Final[LiteralString] = """
    SELECT
        id, placed_by, key, fingerprint, from_id, to_id, amount, reference, created_at
    FROM unnest($1::text[], $2::text[]) AS requested (placed_by, key)
    JOIN orders USING (placed_by, key)
"""

_Outcome = Order | Exception


class _Insertion(NamedTuple):
    """An order to be inserted, and the message of its event."""

    placement: Placement
    message: Message


class PgOrders:
    """The ``orders`` table. ``on_commit`` is called when orders and their events are committed.

    *Resources*: a task for each batch in flight; `stop` waits for them.
    """

    name = "orders"

    def __init__(
        self,
        pool: Pool,
        reads: ReadPolicy | None = None,
        *,
        on_commit: Callable[[], None] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._pool = pool
        self._policy = reads or ReadPolicy()
        self._on_commit = on_commit
        self._keys = KeysInFlight()
        self._reads: ReadCoalescer[UUID, Order] = ReadCoalescer(
            self._get_all, name="reading orders", observer=observer
        )
        self._insertions: WriteCoalescer[_Insertion, Order] = WriteCoalescer(
            self._place_all, name="placing orders", observer=observer
        )

    @property
    def parts(self) -> Sequence[object]:
        """What starts, stops and measures its batches."""
        return (self._reads, self._insertions)

    async def place(self, placement: Placement) -> Order:
        """Add the order and its event; with a key that was used for it before, the order again.

        Errors: AccountNotFound, NotTheOwner; KeyReused, KeyInFlight.
        """
        with wrap("place order {}", placement.order.id):
            # The message is made here, in the caller's trace, which it continues.
            insertion = _Insertion(placement, _message(placement.order))
            if placement.key is None:
                return await self._insertions.call(insertion)
            with self._keys.hold(placement.key):
                return await self._insertions.call(insertion)

    async def get(self, order_id: UUID) -> Order:
        """One order. Errors: OrderNotFound."""
        with wrap("query order {}", order_id):
            return await self._reads.call(order_id)

    async def pay_all(
        self, requests: Sequence[PaymentRequest], at: datetime
    ) -> Sequence[Exception | None]:
        """Decide the orders, in one transaction; see ``OrderRepository``."""
        with wrap("pay {} orders", len(requests)):
            return await self._pool.transact(lambda tx: pay_all(tx, requests, at))

    async def _get_all(self, ids: Sequence[UUID]) -> Mapping[UUID, Order | Exception]:
        rows = await self._policy.batch(lambda: self._pool.fetch(_GET, ids))
        found: dict[UUID, Order | Exception] = {row["id"]: _order(row) for row in rows}
        for missing in {*ids} - found.keys() if len(found) < len(ids) else ():
            found[missing] = OrderNotFound()
        return found

    async def _place_all(self, insertions: Sequence[_Insertion]) -> Sequence[_Outcome]:
        outcomes = await self._pool.transact(lambda tx: _place_all(tx, insertions))
        if self._on_commit is not None:
            self._on_commit()
        return outcomes


def _order(row: Row) -> Order:
    paid = row["status"] == "paid"
    return Order(
        row["id"], row["placed_by"], row["from_id"], row["to_id"], row["amount"],
        row["reference"], row["created_at"], row["status"], row["reason"],
        row["id"] if paid else None, row["decided_at"],
    )  # fmt: skip


async def _place_all(tx: Connection, insertions: Sequence[_Insertion]) -> Sequence[_Outcome]:
    placements = [each.placement for each in insertions]
    outcomes = await _refusals(tx, placements)
    accepted = [each for each in placements if each.order.id not in outcomes]
    if accepted:
        outcomes.update(await _insert(tx, accepted))
        new = {each.order.id for each in accepted if outcomes[each.order.id] is each.order}
        await enqueue(tx, [each.message for each in insertions if each.placement.order.id in new])
    return [outcomes[each.order.id] for each in placements]


async def _refusals(tx: Connection, placements: Sequence[Placement]) -> dict[UUID, _Outcome]:
    """Those that could never be paid. No lock: accounts keep their owners and are never deleted."""
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
    """Insert the orders, sorted by key; one whose key was used before gives that first order."""
    placed = sorted(placements, key=_sort_key)
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
    new = {row["id"] for row in rows}
    outcomes: dict[UUID, _Outcome] = {
        each.order.id: each.order for each in placed if each.order.id in new
    }
    repeated = [(each.key, each) for each in placed if each.key and each.order.id not in new]
    if repeated:
        keys = [key for key, _ in repeated]
        first = {
            (row["placed_by"], row["key"]): row
            for row in await tx.fetch(
                _FIRST_ORDERS, [key.subject for key in keys], [key.text for key in keys]
            )
        }
        for key, each in repeated:
            row = first[key.subject, key.text]
            same = row["fingerprint"] == key.fingerprint
            outcomes[each.order.id] = _order_as_placed(row) if same else KeyReused()
    return outcomes


def _sort_key(placement: Placement) -> tuple[str, str]:
    return (placement.key.subject, placement.key.text) if placement.key else ("", "")


def _order_as_placed(row: Row) -> Order:
    """The first answer: the order as it was when it was placed."""
    return Order(
        row["id"], row["placed_by"], row["from_id"], row["to_id"], row["amount"],
        row["reference"], row["created_at"],
    )  # fmt: skip


def _message(order: Order) -> Message:
    return Message(
        CREATED_SUBJECT,
        msgspec.json.encode(order_created(order)),
        f"{order.id}.created",
        str(order.id),
        propagation_headers(),
    )
