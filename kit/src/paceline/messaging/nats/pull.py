"""Pulling: a request for so many messages, and what comes of it until the next.

Invariant: no more arrives than was asked for, in number and in bytes, and a consumer that says
nothing, not even its heartbeat, is noticed. Rejected: the client's ``fetch``, which asks twice for
each batch, makes a task for each message and leaves requests behind on the server. One `Pull`
lives as long as one connection; ``nats_source`` makes them.
"""

import asyncio
from collections import deque
from typing import Final

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from paceline.errors import Code
from paceline.messaging.nats.connection import NatsConnection
from paceline.messaging.nats.errors import QueueError
from paceline.messaging.nats.jetstream import API, nanoseconds

_HEARTBEAT: Final = "100"
_ORDINARY: Final = frozenset({"404", "408"})
# Ends of a request after which the consumer is as it was: the rest of 409 is not.
_HARMLESS: Final = ("batch completed", "maxbytes", "leadership change", "server shutdown")
_SILENCE: Final = 2.5


class Pull:
    """Messages of one consumer over one connection. Times are in seconds.

    ``heartbeat``: how often the server says that it is there when there is nothing.

    *Resources*: a subscription from `open` to `close`.
    """

    def __init__(
        self,
        connection: NatsConnection,
        stream: str,
        durable: str,
        *,
        heartbeat: float,
        max_bytes: int,
    ) -> None:
        self.connection = connection
        self._next = f"{API}.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._heartbeat = heartbeat
        self._expires = max(30.0, 2 * heartbeat)
        self._max_bytes = max(max_bytes, 2 * connection.max_payload)
        self._inbox = connection.new_inbox()
        self._subscription: Subscription | None = None
        self._number = 0
        self._asked = 0
        self._arrived: deque[Msg] = deque()
        self._heard = asyncio.Event()
        self._broken = ""

    async def open(self) -> None:
        """Listen. Errors: UNAVAILABLE."""
        self._subscription = await self.connection.subscribe(f"{self._inbox}.*", self._on_message)

    async def take(self, limit: int) -> list[Msg]:
        """What has arrived, waited for; nothing when the server says that there is nothing.

        Errors: UNAVAILABLE when the consumer is gone, silent, or the connection is lost.
        """
        if not self._arrived:
            self._heard.clear()
            if self._asked <= 0:
                await self._ask(limit)
            await self._listen()
        if self._broken:
            raise QueueError(Code.UNAVAILABLE, f"the consumer is gone: {self._broken}")
        taken = [*self._arrived]
        self._arrived.clear()
        return taken

    async def close(self) -> list[Msg]:
        """Stop listening; gives what nobody has taken, to be given back."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await self.connection.drain(subscription)
        left = [*self._arrived]
        self._arrived.clear()
        return left

    async def _ask(self, limit: int) -> None:
        self._number += 1
        self._asked = limit
        request = {
            "batch": limit,
            "expires": nanoseconds(self._expires),
            "idle_heartbeat": nanoseconds(self._heartbeat),
            "max_bytes": self._max_bytes,
        }
        await self.connection.send(
            self._next, msgspec.json.encode(request), reply=f"{self._inbox}.{self._number}"
        )

    async def _listen(self) -> None:
        lost = asyncio.ensure_future(self.connection.lost.wait())
        heard = asyncio.ensure_future(self._heard.wait())
        try:
            done, _ = await asyncio.wait(
                [lost, heard],
                timeout=_SILENCE * self._heartbeat,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            lost.cancel()
            heard.cancel()
        if self.connection.lost.is_set():
            raise QueueError(Code.UNAVAILABLE)
        if not done:
            raise QueueError(Code.UNAVAILABLE, "the consumer is silent")

    async def _on_message(self, message: Msg) -> None:
        if not message.subject.startswith(self._inbox):
            self._asked -= 1
            self._arrived.append(message)
        elif message.subject == f"{self._inbox}.{self._number}":
            self._on_status(message.headers or {})
        self._heard.set()

    def _on_status(self, headers: dict[str, str]) -> None:
        status, text = headers.get("Status", ""), headers.get("Description", "")
        if status == _HEARTBEAT:
            return
        self._asked = 0
        harmless = any(words in text.lower() for words in _HARMLESS)
        if status not in _ORDINARY and not harmless:
            self._broken = text or status
