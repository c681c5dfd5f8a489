"""Orders over HTTP: accepted with 202, then read until they are decided.

An order is answered before it is paid, so a request waits for one commit only; `Location` is where
to read the order. An operator (``accounts:operate``) may order for others and read all orders.
"""

from uuid import UUID

from myservice.domain.accounts import AccountNotFound, NotTheOwner
from myservice.domain.orders import NotYourOrder, Order, OrderDraft, OrderNotFound
from myservice.handler.accounts_http import actor_of
from myservice.scopes import ORDERS_READ, ORDERS_WRITE
from myservice.service.orders import OrderService
from paceline.auth import Principal
from paceline.http import Body, Header, Path, Provided, Reply, RouteGroup
from paceline.idempotency import IdempotencyKeyText, KeyInFlight, KeyReused


class OrderHandler:
    """The order operations."""

    def __init__(self, service: OrderService) -> None:
        self._service = service

    def register(self, api: RouteGroup) -> None:
        """Add the routes."""
        api.post(
            "/orders", self.place_order, status=202, scopes=[ORDERS_WRITE],
            errors=[AccountNotFound, NotTheOwner, KeyReused, KeyInFlight],
        )  # fmt: skip
        api.get(
            "/orders/{id}", self.get_order, scopes=[ORDERS_READ],
            errors=[OrderNotFound, NotYourOrder],
        )  # fmt: skip

    async def place_order(
        self,
        idempotency_key: Header[IdempotencyKeyText | None],
        body: Body[OrderDraft],
        principal: Provided[Principal],
    ) -> Reply[Order]:
        """Order a payment from one's own account; from any, as an operator.

        It is pending at first, then paid, or refused with a reason: look at `Location`. With an
        `Idempotency-Key` the request may be sent again until it is answered: it makes one order,
        and the answer is the first one.
        """
        order = await self._service.place_order(body, actor_of(principal), idempotency_key)
        location = (b"location", b"/api/v1/orders/%s" % str(order.id).encode())
        return Reply(order, [location])

    async def get_order(
        self,
        id: Path[UUID],  # noqa: A002 - the path's name
        principal: Provided[Principal],
    ) -> Order:
        """Get one of one's own orders; any order, as an operator."""
        return await self._service.get_order(id, actor_of(principal))
