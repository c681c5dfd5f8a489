"""Messages on their way to JetStream: sent in order, acknowledged in any, each with one outcome.

Invariant: an outcome is given once. What a lost connection left without one is sent again on the
next, in the old order; the ids make that harmless. Each message that is in flight holds one of the
bus's slots, so memory is bounded, whoever publishes.
"""

import asyncio
from collections.abc import Sequence

from nats.aio.msg import Msg

from paceline.errors import Code, Error, copy_exception
from paceline.messaging.errors import QueueError
from paceline.messaging.message import Message
from paceline.messaging.nats.connection import NatsConnection
from paceline.messaging.nats.jetstream import KEY, MESSAGE_ID, PubAck, decode_answer


class PublishBatch:
    """Messages and their outcomes. ``pending``: the indexes of those that have none yet.

    ``slots``: one is taken for each message in flight. ``max_unsent``: in bytes.
    """

    def __init__(
        self, messages: Sequence[Message], slots: asyncio.Semaphore, max_unsent: int
    ) -> None:
        self.pending: list[int] = list(range(len(messages)))
        self._messages = messages
        self._slots = slots
        self._max_unsent = max_unsent
        self._outcomes: dict[int, Exception | None] = {}

    def outcomes(self) -> list[Exception | None]:
        """One for each message; None: it is stored."""
        return [self._outcomes[index] for index in range(len(self._messages))]

    def fail_pending(self, error: Error) -> None:
        """Give every message that has no outcome this one."""
        self._outcomes.update((index, copy_exception(error)) for index in self.pending)
        self.pending = []

    async def send(self, connection: NatsConnection, until: float) -> None:
        """Send what is pending; what is pending afterwards needs another connection.

        At ``until``, of the event loop's clock, what is pending fails.
        """
        replies: dict[int, asyncio.Future[Msg]] = {}
        expired = False
        try:
            async with asyncio.timeout_at(until):
                await self._send_all(connection, replies)
                if replies:
                    await asyncio.wait(replies.values())
        except TimeoutError:
            expired = True
        finally:
            for index, reply in replies.items():
                if reply.done():
                    self._settle(index, reply, connection)
                else:
                    reply.cancel()
        self.pending = [index for index in self.pending if index not in self._outcomes]
        if expired:
            self.fail_pending(QueueError(Code.DEADLINE_EXCEEDED))

    async def _send_all(
        self, connection: NatsConnection, replies: dict[int, asyncio.Future[Msg]]
    ) -> None:
        for index in self.pending:
            try:
                replies[index] = await self._send_one(connection, self._messages[index])
            except Error as exc:
                if connection.lost.is_set():
                    return
                self._outcomes[index] = exc

    async def _send_one(self, connection: NatsConnection, message: Message) -> asyncio.Future[Msg]:
        if connection.unsent > self._max_unsent:
            raise QueueError(Code.RESOURCE_EXHAUSTED, "too much waits to be sent to the queue")
        headers = {**message.headers, MESSAGE_ID: message.id}
        if message.key:
            headers[KEY] = message.key
        await self._slots.acquire()
        try:
            reply = await connection.start_request(message.subject, message.data, headers=headers)
        except BaseException:
            self._slots.release()
            raise
        reply.add_done_callback(lambda _: self._slots.release())
        return reply

    def _settle(self, index: int, reply: asyncio.Future[Msg], connection: NatsConnection) -> None:
        try:
            decode_answer(reply.result().data, PubAck)
        except Error as exc:
            if exc.code is not Code.UNAVAILABLE or not connection.lost.is_set():
                self._outcomes[index] = exc
        else:
            self._outcomes[index] = None
