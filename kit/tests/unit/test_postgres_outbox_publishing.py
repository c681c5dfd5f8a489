"""How a batch goes into the queue: a key's next message after its last was acknowledged."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.messaging import Message
from paceline.postgres.outbox.publishing import publish_by_key
from paceline.postgres.outbox.table import OutboxRow


@dataclass
class Queue:
    """Takes everything but ``refuses``; records what it was handed, round by round."""

    refuses: frozenset[str] = frozenset()
    rounds: list[list[str]] = field(default_factory=list[list[str]])

    async def publish_all(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        self.rounds.append([message.id for message in messages])
        return [ValueError(each.id) if each.id in self.refuses else None for each in messages]


def rows(*keys: str) -> list[OutboxRow]:
    """Messages of these keys, named by key and position."""
    return [
        OutboxRow(position, 0, Message("s", b"", f"{key}{position}", key))
        for position, key in enumerate(keys)
    ]


async def test_messages_of_different_keys_and_of_none_go_together() -> None:
    queue = Queue()
    result = await publish_by_key(queue, rows("a", "", "b", "", "a", "b", "a"), 1.0)
    assert queue.rounds == [["a0", "1", "b2", "3"], ["a4", "b5"], ["a6"]]
    assert len(result.sent) == 7


async def test_after_a_failure_its_key_stops_and_the_others_go_on() -> None:
    queue = Queue(frozenset({"a0", "2"}))
    result = await publish_by_key(queue, rows("a", "b", "", "", "a", "b", "a"), 1.0)
    assert queue.rounds == [["a0", "b1", "2", "3"], ["b5"]]
    assert [each.message.id for each, _ in result.failed] == ["a0", "2"]


@given(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=40), st.data())
def test_whatever_fails_a_key_is_sent_in_order_and_without_a_gap(
    keys: list[str], data: st.DataObject
) -> None:
    messages = rows(*keys)
    ids = [each.message.id for each in messages]
    refused = data.draw(st.frozensets(st.sampled_from(ids))) if ids else frozenset[str]()
    result = asyncio.run(publish_by_key(Queue(refused), messages, 10.0))
    sent = [each.message for each in result.sent]
    failed = {each.message.id for each, _ in result.failed}
    assert failed <= refused
    for key in "abc":
        of_key = [each.message.id for each in messages if each.message.key == key]
        expected = of_key[: next((n for n, one in enumerate(of_key) if one in refused), None)]
        assert [message.id for message in sent if message.key == key] == expected
    plain = {each.message.id for each in messages if not each.message.key}
    assert {message.id for message in sent if not message.key} == plain - refused


async def test_at_the_timeout_what_is_under_way_fails_and_nothing_more_is_tried() -> None:
    queue = Queue()

    @dataclass
    class Hanging:
        async def publish_all(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
            if queue.rounds:
                await asyncio.Event().wait()
            return await queue.publish_all(messages)

    result = await publish_by_key(Hanging(), rows("a", "a", "a"), 0.01)
    assert [each.message.id for each in result.sent] == ["a0"]
    assert [(each.message.id, type(exc)) for each, exc in result.failed] == [("a1", TimeoutError)]


@dataclass(frozen=True)
class BrokenCase:
    id: str
    outcomes: Exception | Sequence[Exception | None]


@pytest.mark.parametrize(
    "case",
    [
        BrokenCase("raises", ConnectionError("gone")),
        BrokenCase("gives too few outcomes", [None]),
        BrokenCase("gives too many outcomes", [None] * 3),
    ],
    ids=lambda case: case.id,
)
async def test_a_publisher_that_breaks_its_contract_has_sent_nothing(case: BrokenCase) -> None:
    class Publisher:
        async def publish_all(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
            if isinstance(case.outcomes, Exception):
                raise case.outcomes
            return case.outcomes

    result = await publish_by_key(Publisher(), rows("a", "b"), 1.0)
    assert (result.sent, len(result.failed)) == ([], 2)
