"""Messages on their way to JetStream: sent in order, acknowledged in any, each with one outcome.

Invariant: an outcome is given once; what a lost connection left without one is sent again on the
next, in the old order, and the ids make that harmless. Nobody waits longer than ``until``, and what
is under way holds one of the bus's ``places``, so memory is bounded whoever publishes. Used by
``nats`` for every publish.
"""

import asyncio
from collections.abc import Sequence

from nats.aio.msg import Msg

from paceline.errors import Code, Error, copy_exception
from paceline.messaging.message import Message
from paceline.messaging.nats.connection import NatsConnection
from paceline.messaging.nats.errors import QueueError
from paceline.messaging.nats.jetstream import ID, KEY, PubAck, decode_answer


class PublishBatch:
    """Messages and what became of them; ``left``: the numbers of those that have no outcome."""

    def __init__(
        self, messages: Sequence[Message], places: asyncio.Semaphore, max_unsent: int
    ) -> None:
        self.left: list[int] = list(range(len(messages)))
        self._messages = messages
        self._places = places
        self._max_unsent = max_unsent
        self._outcomes: dict[int, Exception | None] = {}

    def outcomes(self) -> list[Exception | None]:
        """One for each message, None for stored."""
        return [self._outcomes[number] for number in range(len(self._messages))]

    def give_up(self, error: Error) -> None:
        """What has no outcome has failed so."""
        self._outcomes.update((number, copy_exception(error)) for number in self.left)
        self.left = []

    async def send(self, connection: NatsConnection, until: float) -> None:
        """Send what is left; what then still is left needs another connection."""
        futures: dict[int, asyncio.Future[Msg]] = {}
        late = False
        try:
            async with asyncio.timeout_at(until):
                await self._begin_all(connection, futures)
                if futures:
                    await asyncio.wait(futures.values())
        except TimeoutError:
            late = True
        finally:
            for number, future in futures.items():
                if future.done():
                    self._settle(number, future, connection)
                else:
                    future.cancel()
        self.left = [number for number in self.left if number not in self._outcomes]
        if late:
            self.give_up(QueueError(Code.DEADLINE_EXCEEDED))

    async def _begin_all(
        self, connection: NatsConnection, futures: dict[int, asyncio.Future[Msg]]
    ) -> None:
        for number in self.left:
            try:
                futures[number] = await self._begin(connection, self._messages[number])
            except Error as exc:
                if connection.lost.is_set():
                    return
                self._outcomes[number] = exc

    async def _begin(self, connection: NatsConnection, message: Message) -> asyncio.Future[Msg]:
        if connection.unsent > self._max_unsent:
            raise QueueError(Code.RESOURCE_EXHAUSTED, "too much waits to be sent to the queue")
        headers = {**message.headers, ID: message.id}
        if message.key:
            headers[KEY] = message.key
        await self._places.acquire()
        try:
            future = await connection.begin(message.subject, message.data, headers=headers)
        except BaseException:
            self._places.release()
            raise
        future.add_done_callback(lambda _: self._places.release())
        return future

    def _settle(self, number: int, future: asyncio.Future[Msg], connection: NatsConnection) -> None:
        try:
            decode_answer(future.result().data, PubAck)
        except Error as exc:
            if exc.code is not Code.UNAVAILABLE or not connection.lost.is_set():
                self._outcomes[number] = exc
        else:
            self._outcomes[number] = None
