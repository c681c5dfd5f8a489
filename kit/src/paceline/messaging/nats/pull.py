"""Pulling from a JetStream consumer: a request for so many messages, and what arrives for it.

Invariant: no more arrives than was requested, in number and in bytes, and a consumer that sends
nothing, not even its heartbeat, is noticed. Rejected: the client's ``fetch``, which makes two
requests for each batch and a task for each message, and leaves requests behind on the server.
"""

import asyncio
from collections import deque
from typing import Final

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from paceline.errors import Code
from paceline.messaging.errors import QueueError
from paceline.messaging.nats.connection import NatsConnection
from paceline.messaging.nats.jetstream import API, nanoseconds

_HEARTBEAT: Final = "100"
_EXPECTED: Final = frozenset({"404", "408"})
# Texts of status 409 after which the consumer still exists.
_HARMLESS: Final = ("batch completed", "maxbytes", "leadership change", "server shutdown")
_MISSED_HEARTBEATS: Final = 2.5


class PullSubscription:
    """The messages of one consumer over one connection. Times are in seconds.

    ``heartbeat``: how often the server gives a sign of life while there are no messages.

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
        self._request_subject = f"{API}.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._heartbeat = heartbeat
        self._expires = max(30.0, 2 * heartbeat)
        self._max_bytes = max(max_bytes, 2 * connection.max_payload)
        self._inbox = connection.new_inbox()
        self._subscription: Subscription | None = None
        self._number = 0
        self._requested = 0
        self._arrived: deque[Msg] = deque()
        self._activity = asyncio.Event()
        self._failure = ""

    async def open(self) -> None:
        """Subscribe. Errors: UNAVAILABLE."""
        self._subscription = await self.connection.subscribe(f"{self._inbox}.*", self._on_message)

    async def take(self, limit: int) -> list[Msg]:
        """Wait for messages and take them; none when the server sends a sign of life instead.

        Errors: UNAVAILABLE when the consumer is gone or silent, or the connection is lost.
        """
        if not self._arrived:
            self._activity.clear()
            if self._requested <= 0:
                await self._request(limit)
            await self._wait_for_activity()
        if self._failure:
            raise QueueError(Code.UNAVAILABLE, f"the consumer is gone: {self._failure}")
        taken = [*self._arrived]
        self._arrived.clear()
        return taken

    async def close(self) -> list[Msg]:
        """Unsubscribe; gives the messages that were not taken, to be returned to the server."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await self.connection.drain(subscription)
        untaken = [*self._arrived]
        self._arrived.clear()
        return untaken

    async def _request(self, limit: int) -> None:
        self._number += 1
        self._requested = limit
        request = {
            "batch": limit,
            "expires": nanoseconds(self._expires),
            "idle_heartbeat": nanoseconds(self._heartbeat),
            "max_bytes": self._max_bytes,
        }
        await self.connection.send(
            self._request_subject,
            msgspec.json.encode(request),
            reply=f"{self._inbox}.{self._number}",
        )

    async def _wait_for_activity(self) -> None:
        lost = asyncio.ensure_future(self.connection.lost.wait())
        active = asyncio.ensure_future(self._activity.wait())
        try:
            done, _ = await asyncio.wait(
                [lost, active],
                timeout=_MISSED_HEARTBEATS * self._heartbeat,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            lost.cancel()
            active.cancel()
        if self.connection.lost.is_set():
            raise QueueError(Code.UNAVAILABLE)
        if not done:
            raise QueueError(Code.UNAVAILABLE, "the consumer is silent")

    async def _on_message(self, message: Msg) -> None:
        if not message.subject.startswith(self._inbox):
            self._requested -= 1
            self._arrived.append(message)
        elif message.subject == f"{self._inbox}.{self._number}":
            self._on_status(message.headers or {})
        self._activity.set()

    def _on_status(self, headers: dict[str, str]) -> None:
        status, text = headers.get("Status", ""), headers.get("Description", "")
        if status == _HEARTBEAT:
            return
        self._requested = 0
        harmless = any(words in text.lower() for words in _HARMLESS)
        if status not in _EXPECTED and not harmless:
            self._failure = text or status
