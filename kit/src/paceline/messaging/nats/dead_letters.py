"""The stored dead letters, for operators: list, show, publish again, drop.

Invariant: a letter is removed only when its message is stored again or an operator drops it.
Publishing again takes a new id, made from the letter's number: a retry that was interrupted between
its two steps and is repeated publishes one message, and the stream does not take it for a duplicate
of the original. Reading uses direct gets, which consume nothing.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from nats.aio.msg import Msg

from paceline.errors import Code, Error, NotFound
from paceline.messaging.dead_letter import DEAD_LETTER_PREFIX, DeadLetter
from paceline.messaging.errors import QueueError
from paceline.messaging.message import Message
from paceline.messaging.nats.bus import NatsBus
from paceline.messaging.nats.errors import JetStreamError
from paceline.messaging.nats.jetstream import API, Success, decode_answer
from paceline.messaging.nats.stream import Stream

_DEAD_STREAM: Final = "DEAD"
_TIMEOUT: Final = 5.0


class StoredDeadLetter(msgspec.Struct, frozen=True):
    """A dead letter and its number in the stream."""

    number: int
    letter: DeadLetter


class DeadLetters:
    """The dead letters in ``stream``. Errors of every method: those of `NatsBus.call_api`."""

    def __init__(self, bus: NatsBus, *, stream: Stream) -> None:
        self._bus = bus
        self._stream = stream

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[StoredDeadLetter]:
        """The oldest first, up to ``limit``, from behind number ``after``.

        What the stream holds that is no dead letter is left out.
        """
        found: list[StoredDeadLetter] = []
        while len(found) < limit:
            request = {"seq": after + 1, "next_by_subj": f"{DEAD_LETTER_PREFIX}>"}
            message = await self._find(request)
            if message is None:
                break
            after = _number_of(message)
            try:
                found.append(StoredDeadLetter(after, _letter_of(message)))
            except Error as exc:
                if exc.code is not Code.DATA_LOSS:
                    raise
        return found

    async def show(self, number: int) -> StoredDeadLetter:
        """One letter. Errors: `NotFound`; DATA_LOSS when what is stored there is no dead letter."""
        message = await self._find({"seq": number})
        if message is None:
            raise NotFound(f"there is no dead letter {number}")
        return StoredDeadLetter(number, _letter_of(message))

    async def retry(self, number: int) -> Message:
        """Publish it to its old subject, under a new id, and then remove the letter.

        Errors: `NotFound`; FAILED_PRECONDITION when its data were too long to be kept.
        """
        letter = (await self.show(number)).letter
        if letter.truncated:
            message = f"the {letter.truncated} bytes of letter {number} were too many to be kept"
            raise Error(Code.FAILED_PRECONDITION, message)
        again = Message(
            letter.subject, letter.data, f"{letter.id}.again-{number}", letter.key, letter.headers
        )
        await self._bus.publish(again)
        await self.drop(number)
        return again

    async def drop(self, number: int) -> None:
        """Remove it for good. Errors: `NotFound`."""
        try:
            answer = await self._request("STREAM.MSG.DELETE", {"seq": number})
            decode_answer(answer.data, Success)
        except JetStreamError as exc:
            # JetStream has one number for everything that can go wrong here.
            if await self._find({"seq": number}) is None:
                raise NotFound(f"there is no dead letter {number}") from exc
            raise

    async def _find(self, request: object) -> Msg | None:
        await self._bus.ensure_stream(self._stream)
        message = await self._request("DIRECT.GET", request)
        status = (message.headers or {}).get("Status", "")
        if status == "404":
            return None
        if status:
            raise QueueError(Code.INTERNAL)
        return message

    async def _request(self, call: str, request: object) -> Msg:
        connection = await self._bus.connection(_TIMEOUT)
        subject = f"{API}.{call}.{self._stream.name}"
        return await connection.request(subject, msgspec.json.encode(request), _TIMEOUT)


def dead_letter_stream(*, replicas: int = 1) -> Stream:
    """The stream of the dead letters of all consumers."""
    return Stream(_DEAD_STREAM, (f"{DEAD_LETTER_PREFIX}>",), replicas=replicas)


def _number_of(message: Msg) -> int:
    return int((message.headers or {}).get("Nats-Sequence", "0"))


def _letter_of(message: Msg) -> DeadLetter:
    return DeadLetter.from_headers(message.headers or {}, message.data)
