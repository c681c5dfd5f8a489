"""What ``paceline add consumer`` makes: a message's type, its processor, its effect, and a test.

Files are written out here because the template's own consumer does what no other does. A word in
capitals between underscores is replaced by the consumer's names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from paceline.scaffold.errors import ScaffoldError
from paceline.scaffold.naming import camel
from paceline.scaffold.project import Project
from paceline.scaffold.wiring_edits import Insertion

_SUBJECT: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")

_MESSAGE: Final = '''"""The messages of ``__SUBJECT__``."""

from uuid import UUID

import msgspec


class __CLASS__Message(msgspec.Struct, frozen=True):
    """What a message says: the fields that its publisher sends; others are ignored."""

    id: UUID
'''
_WORKER: Final = '''"""The consumer of ``__SUBJECT__``: a batch of messages in, their outcomes out.

Invariant: the outcome None means that the effect is committed, so the message may be acknowledged.
An exception that is raised is about the whole batch, of which nothing was done, and which is
delivered again; one that is returned is about its message.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from __PACKAGE__.domain.__NAME___message import __CLASS__Message
from paceline.messaging import Incoming
from paceline.messaging.nats import NatsSubscription
__IMPORT__

__DEFINITION__
SUBJECT: Final = "__SUBJECT__"
CONSUMER: Final = "__DURABLE__"
"""The name of the consumer, in the inbox and in the queue."""


class __CLASS__Effects(Protocol):
    """Does what messages ask for, once for each."""

    async def apply_all(self, messages: Sequence[tuple[str, __CLASS__Message]]) -> None:
        """Apply messages, by their ids: all of them, or on an error none."""
        ...


class __CLASS__Processor:
    """The handler of the messages."""

    def __init__(self, effects: __CLASS__Effects) -> None:
        self._effects = effects

    async def process(
        self, batch: Sequence[Incoming[__CLASS__Message]]
    ) -> Sequence[Exception | None]:
        """Handle a batch."""
        await self._effects.apply_all([(each.id, each.value) for each in batch])
        return [None] * len(batch)


def subscription(replicas: int) -> NatsSubscription:
    """What it consumes."""
    return NatsSubscription(__STREAM__.name, (SUBJECT,), durable=CONSUMER, replicas=replicas)
'''
_REPOSITORY: Final = '''"""The effect of ``__SUBJECT__`` in PostgreSQL: once for each message.

A message is claimed in the inbox in the transaction of its effect, so a second delivery finds it
claimed, and a transaction that fails leaves it new.
"""

from collections.abc import Sequence

from __PACKAGE__.domain.__NAME___message import __CLASS__Message
from paceline.postgres import Connection, Pool
from paceline.postgres.inbox import claim


class Pg__CLASS__Effects:
    """Applies messages. ``consumer``: in whose name they are claimed."""

    def __init__(self, pool: Pool, *, consumer: str) -> None:
        self._pool = pool
        self._consumer = consumer

    async def apply_all(self, messages: Sequence[tuple[str, __CLASS__Message]]) -> None:
        """Apply those that are new, in one transaction."""
        async with self._pool.transaction() as tx:
            new = await claim(tx, self._consumer, [message_id for message_id, _ in messages])
            by_id = dict(messages)  # one message may be delivered twice in a batch
            await self._apply(tx, [by_id[message_id] for message_id in by_id if message_id in new])

    async def _apply(self, tx: Connection, messages: Sequence[__CLASS__Message]) -> None:
        """The effect: its statements belong here, on ``tx``."""
        del tx, messages
'''
_UNIT: Final = '''"""The consumer of ``__SUBJECT__`` on a fake: one outcome for each message."""

from collections.abc import Sequence

import pytest

from __PACKAGE__.domain.__NAME___message import __CLASS__Message
from __PACKAGE__.worker.__NAME__ import SUBJECT, __CLASS__Processor, subscription
from paceline.errors import Code, Error
from paceline.messaging import Incoming
from paceline.postgres import uuid7


class MemoryEffects:
    """Remembers what it applied; fails when told to."""

    def __init__(self) -> None:
        self.applied: dict[str, __CLASS__Message] = {}
        self.away = False

    async def apply_all(self, messages: Sequence[tuple[str, __CLASS__Message]]) -> None:
        if self.away:
            raise Error(Code.UNAVAILABLE, "the database is not available")
        for message_id, message in messages:
            self.applied.setdefault(message_id, message)


def incoming(message_id: str) -> Incoming[__CLASS__Message]:
    return Incoming(message_id, SUBJECT, __CLASS__Message(uuid7()), 1)


async def test_each_message_of_a_batch_has_its_effect() -> None:
    effects = MemoryEffects()
    batch = [incoming("1"), incoming("2"), incoming("1")]
    assert await __CLASS__Processor(effects).process(batch) == [None] * 3
    assert [*effects.applied] == ["1", "2"]
    assert await __CLASS__Processor(effects).process([]) == []


async def test_a_batch_that_could_not_be_applied_is_delivered_again() -> None:
    effects = MemoryEffects()
    effects.away = True
    with pytest.raises(Error, match="not available"):
        await __CLASS__Processor(effects).process([incoming("1")])


def test_it_consumes_its_subject_and_no_other() -> None:
    assert subscription(3).subjects == (SUBJECT,)
    assert subscription(3).replicas == 3
'''
_INTEGRATION: Final = '''"""The effect of ``__SUBJECT__``: once, however often it is delivered."""

import asyncio
from collections.abc import Sequence

import pytest

from __PACKAGE__.domain.__NAME___message import __CLASS__Message
from __PACKAGE__.repository.__NAME___effects import Pg__CLASS__Effects
from paceline.postgres import Connection, Pool, uuid7

pytestmark = pytest.mark.integration


class Counted(Pg__CLASS__Effects):
    """Counts how often each message had its effect; fails once when told to."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool, consumer="test")
        self.effects: list[__CLASS__Message] = []
        self.fails = False

    async def _apply(self, tx: Connection, messages: Sequence[__CLASS__Message]) -> None:
        await super()._apply(tx, messages)
        if self.fails:
            self.fails = False
            raise KeyError("the effect")
        self.effects += messages


async def test_a_message_has_its_effect_once(pool: Pool) -> None:
    counted, message = Counted(pool), __CLASS__Message(uuid7())
    await asyncio.gather(*(counted.apply_all([("1", message)]) for _ in range(5)))
    await counted.apply_all([("1", message), ("1", message)])
    assert counted.effects == [message]


async def test_a_message_whose_effect_failed_stays_new(pool: Pool) -> None:
    counted, message = Counted(pool), __CLASS__Message(uuid7())
    counted.fails = True
    with pytest.raises(KeyError):
        await counted.apply_all([("1", message)])
    await counted.apply_all([("1", message)])
    assert counted.effects == [message]
'''


@dataclass(frozen=True, slots=True)
class Consumer:
    """``name`` in snake case; ``subject`` of its messages; ``project`` that it is added to."""

    name: str
    subject: str
    project: Project

    def __post_init__(self) -> None:
        if not _SUBJECT.fullmatch(self.subject):
            raise ScaffoldError(
                f"{self.subject!r} cannot be a subject: write words joined by dots, without"
                " wildcards, for example payments.received",
                usage=True,
            )

    @property
    def _stream_name(self) -> str:
        return self.subject.partition(".")[0].upper().replace("-", "_")

    def _known_stream(self) -> tuple[str, str] | None:
        """The module and the constant of a stream of this name that the project has already."""
        defined = re.compile(
            rf'^(\w+)(?:: Final)? = Stream\(\s*"{self._stream_name}"', re.MULTILINE
        )
        for file in sorted((self.project.package / "worker").glob("*.py")):
            if found := defined.search(file.read_text()):
                return f"{self.project.choices.name.package}.worker.{file.stem}", found[1]
        return None

    def files(self) -> Mapping[str, str]:
        """What is made, by path."""
        source = f"src/{self.project.choices.name.package}"
        made = {
            f"{source}/domain/{self.name}_message.py": _MESSAGE,
            f"{source}/worker/{self.name}.py": _WORKER,
            f"{source}/repository/{self.name}_effects.py": _REPOSITORY,
            f"tests/unit/test_{self.name}_worker.py": _UNIT,
            f"tests/integration/test_{self.name}_effects.py": _INTEGRATION,
        }
        return {path: self._filled(text) for path, text in made.items()}

    def _filled(self, text: str) -> str:
        if known := self._known_stream():
            module, stream = known
            imported, definition = f"from {module} import {stream}", ""
        else:
            stream = f"{self.name.upper()}_STREAM"
            first, dot, _ = self.subject.partition(".")
            imported = "from paceline.messaging.nats import Stream"
            subjects = f"{first}.>" if dot else first
            definition = f'{stream}: Final = Stream("{self._stream_name}", ("{subjects}",))'
        words = {
            "__IMPORT__": imported,
            "__DEFINITION__": definition,
            "__STREAM__": stream,
            "__SUBJECT__": self.subject,
            "__DURABLE__": self.name.replace("_", "-"),
            "__PACKAGE__": self.project.choices.name.package,
            "__CLASS__": camel(self.name),
            "__NAME__": self.name,
        }
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    def insertions(self) -> list[Insertion]:
        """What the wiring needs."""
        package, single = self.project.choices.name.package, camel(self.name)
        upper, variable = self.name.upper(), f"{self.name}_consumer"
        known = self._known_stream()
        imports = [
            f"from {package}.domain.{self.name}_message import {single}Message",
            f"from {package}.repository.{self.name}_effects import Pg{single}Effects",
            f"from {package}.worker.{self.name} import CONSUMER as {upper}_CONSUMER",
            f"from {package}.worker.{self.name} import {single}Processor",
            f"from {package}.worker.{self.name} import subscription as {self.name}_subscription",
            "import paceline.messaging.nats as nats_room",
        ]
        at = [
            (
                "consumers",
                [
                    f"{variable} = nats_room.NatsConsumer(",
                    "    bus,",
                    f"    {single}Processor(",
                    f"        Pg{single}Effects(pool, consumer={upper}_CONSUMER),",
                    "    ).process,",
                    "    log,",
                    f"    type={single}Message,",
                    f"    subscription={self.name}_subscription(config.nats_replicas),",
                    "    tracer=wiring.tracer,",
                    "    backpressure=wiring.shedder,",
                    ")",
                    f'wiring.add({variable}, ready={{"{self.name}": {variable}.ready}})',
                ],
            )
        ]
        if not known:
            imports.append(f"from {package}.worker.{self.name} import {upper}_STREAM")
            at.append(("streams", [f"{upper}_STREAM,"]))
        return [Insertion(f"src/{package}/main.py", imports, at)]
