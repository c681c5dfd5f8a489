"""Orders in a dictionary: the fake, held to the same contract as PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from memory_accounts import MemoryAccounts

from myservice.domain.accounts import NotTheOwner
from myservice.domain.ledger import Entry, Transfer
from myservice.domain.orders import Order, OrderCreated, OrderNotFound, decide, order_created
from myservice.service.orders import PaymentRequest, Placement
from paceline.errors import Code, Error
from paceline.idempotency import KeyReused
from paceline.postgres.inbox import claimable


class MemoryOrders:
    """Implements ``OrderRepository`` of ``myservice.service.orders``."""

    def __init__(self, accounts: MemoryAccounts) -> None:
        self.events: list[OrderCreated] = []
        self._accounts = accounts
        self._orders: dict[UUID, Order] = {}
        self._debtors: dict[UUID, str | None] = {}
        self._keys: dict[tuple[str, str], tuple[bytes, Order]] = {}
        self._claimed: set[str] = set()

    async def place(self, placement: Placement) -> Order:
        order, key = placement.order, placement.key
        source = await self._accounts.get(order.from_id)
        if placement.debtor not in (None, source.owner):
            raise NotTheOwner
        await self._accounts.get(order.to_id)
        if key is not None:
            before = self._keys.setdefault((key.subject, key.text), (key.fingerprint, order))
            if before[0] != key.fingerprint:
                raise KeyReused
            if before[1] is not order:
                return before[1]
        self._orders[order.id] = order
        self._debtors[order.id] = placement.debtor
        self.events.append(order_created(order))
        return order

    async def get(self, order_id: UUID) -> Order:
        if order_id not in self._orders:
            raise OrderNotFound
        return self._orders[order_id]

    async def pay_all(
        self, requests: Sequence[PaymentRequest], at: datetime
    ) -> Sequence[Exception | None]:
        return [await self._pay(each, at) for each in requests]

    async def _pay(self, request: PaymentRequest, at: datetime) -> Exception | None:
        if not claimable(request.message_id):
            return Error(Code.INVALID_ARGUMENT, "no id")
        if (order := self._orders.get(request.order_id)) is None:
            return OrderNotFound()
        if request.message_id in self._claimed or order.status != "pending":
            return None
        self._claimed.add(request.message_id)
        entry = Entry(
            order.id, order.from_id, order.to_id, order.amount, order.reference, at,
            debtor=self._debtors[order.id],
        )  # fmt: skip
        decision = decide(entry, await self._enter(entry))
        self._orders[order.id] = msgspec.structs.replace(
            order,
            status=decision.status,
            reason=decision.reason,
            transfer_id=order.id if decision.reason is None else None,
            decided_at=at,
        )
        return None

    async def _enter(self, entry: Entry) -> Transfer | Exception:
        try:
            return await self._accounts.enter(entry)
        except Error as exc:
            return exc
