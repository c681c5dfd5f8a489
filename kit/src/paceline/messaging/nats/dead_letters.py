"""The dead letters as an operator handles them: list, show, send again, drop.

Invariant: a letter leaves only when its message is stored again or an operator drops it. Sending
again takes a new id that is made of the letter's number: a retry that was cut off between its two
steps and is repeated sends one message, and the queue does not take it for the one that died.
Reading goes by direct get, which consumes nothing. Used by a service's command; read ``dead``.
"""

from collections.abc import Sequence

import msgspec
from nats.aio.msg import Msg

from paceline.errors import Code, Error, NotFound
from paceline.messaging.dead_letter import PREFIX, DeadLetter, from_headers
from paceline.messaging.message import Message
from paceline.messaging.nats.bus import NatsBus
from paceline.messaging.nats.errors import QueueError
from paceline.messaging.nats.jetstream import API, Done, Stream

_PATIENCE = 5.0


class StoredDeadLetter(msgspec.Struct, frozen=True):
    """A letter and its number, by which it is shown, sent again, or dropped."""

    number: int
    letter: DeadLetter


class DeadLetters:
    """The dead letters of ``stream``. Errors of every method: those of `NatsBus.ask`."""

    def __init__(self, bus: NatsBus, *, stream: Stream) -> None:
        self._bus = bus
        self._stream = stream

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[StoredDeadLetter]:
        """The oldest first, up to ``limit``, from behind number ``after``. Strangers are left out.

        Errors: as for all; none are listed while there is no such stream.
        """
        found: list[StoredDeadLetter] = []
        while len(found) < limit:
            message = await self._find({"seq": after + 1, "next_by_subj": f"{PREFIX}>"})
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
        """One letter. Errors: `NotFound`; DATA_LOSS when it is none."""
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
        await self._remove(number)
        return again

    async def drop(self, number: int) -> None:
        """Remove it for good. Errors: `NotFound`."""
        await self._remove(number)

    async def _remove(self, number: int) -> None:
        subject = f"{API}.STREAM.MSG.DELETE.{self._stream.name}"
        try:
            await self._bus.ask(subject, msgspec.json.encode({"seq": number}), Done)
        except QueueError as exc:
            # JetStream has one number for all that can go wrong here.
            if await self._find({"seq": number}) is None:
                raise NotFound(f"there is no dead letter {number}") from exc
            raise

    async def _find(self, request: object) -> Msg | None:
        await self._bus.ensure_stream(self._stream)
        connection = await self._bus.connection(_PATIENCE)
        subject = f"{API}.DIRECT.GET.{self._stream.name}"
        message = await connection.request(subject, msgspec.json.encode(request), _PATIENCE)
        status = (message.headers or {}).get("Status", "")
        if status == "404":
            return None
        if status:
            raise QueueError(Code.INTERNAL)
        return message


def _number_of(message: Msg) -> int:
    return int((message.headers or {}).get("Nats-Sequence", "0"))


def _letter_of(message: Msg) -> DeadLetter:
    return from_headers(message.headers or {}, message.data)
