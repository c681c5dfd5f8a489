"""The parts of Kafka's side that need no broker: headers, offsets, the table of failures."""

import random
import ssl
from dataclasses import dataclass, field

import pytest
from aiokafka import errors
from hypothesis import given
from hypothesis import strategies as st

from paceline.errors import Code, NotFound
from paceline.messaging.delivery import Delivery
from paceline.messaging.kafka.errors import CLIENT, translate
from paceline.messaging.kafka.offsets import Offsets
from paceline.messaging.kafka.records import (
    RESERVED,
    Headers,
    received,
    to_headers,
    to_retry_headers,
)
from paceline.messaging.kafka.security import OPEN, KafkaAccess
from paceline.messaging.message import Message

NOW = 1_800_000_000.0
text = st.text(st.characters(exclude_categories=["Cs"]))
own = st.dictionaries(text.filter(lambda name: name not in RESERVED), text)


@dataclass
class Row:
    """A record as a broker would give it."""

    topic: str = "things.made"
    partition: int = 3
    offset: int = 7
    key: bytes | None = None
    value: bytes | None = b"{}"
    headers: list[tuple[str, bytes | None]] = field(default_factory=list[tuple[str, bytes | None]])


def row(headers: Headers, topic: str = "things.made", key: str = "") -> Row:
    return Row(topic, key=key.encode(), headers=[*headers])


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), text, own)
def test_a_message_comes_back_as_it_was(ident: str, key: str, headers: dict[str, str]) -> None:
    message = Message("things.made", b"{}", ident, key, headers)
    delivery = received(row(to_headers(message), key=key), retry_topic="retry.g", now=NOW).delivery
    assert (delivery.id, delivery.key, delivery.headers) == (ident, key, headers)
    assert (delivery.subject, delivery.data, delivery.attempt) == ("things.made", b"{}", 1)


@given(text.filter(bool), own, st.integers(1, 1000), st.floats(0, 3000))
def test_a_failed_one_comes_back_with_its_attempt_and_its_moment(
    subject: str, headers: dict[str, str], attempt: int, wait: float
) -> None:
    failed = Delivery("m1", subject, b"{}", "r", headers=headers)
    again = to_retry_headers(failed, attempt, NOW + wait)
    found = received(row(again, "retry.g"), retry_topic="retry.g", now=NOW)
    assert (found.delivery.id, found.delivery.subject) == ("m1", subject)
    assert (found.delivery.attempt, found.delivery.headers) == (attempt, headers)
    assert found.not_before == pytest.approx(NOW + wait, abs=0.002)


@given(
    st.sampled_from(["things.made", "retry.g"]),
    st.none() | st.binary(),
    st.lists(st.tuples(text | st.sampled_from(sorted(RESERVED)), st.none() | st.binary())),
)
def test_any_record_is_a_delivery(
    topic: str, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    found = received(
        Row(topic, key=key, value=None, headers=headers), retry_topic="retry.g", now=NOW
    )
    assert found.delivery.id
    assert found.delivery.data == b""
    assert found.delivery.attempt >= 1
    assert found.not_before <= NOW + 3601


def test_only_the_topic_of_failed_ones_speaks_of_attempts() -> None:
    forged = to_retry_headers(Delivery("m1", "other", b"", "r"), 5, NOW + 100)
    found = received(row(forged), retry_topic="retry.g", now=NOW)
    assert (found.delivery.subject, found.delivery.attempt) == ("things.made", 1)
    assert found.not_before == 0.0


def test_one_without_an_id_is_called_by_its_place() -> None:
    assert received(Row(), retry_topic="r", now=NOW).delivery.id == "things.made:3:7"


def test_a_number_of_a_million_digits_costs_nothing() -> None:
    headers = [("Retry-Attempt", b"9" * 1_000_000), ("Retry-Not-Before", b"9" * 1_000_000)]
    found = received(row([*headers], "r"), retry_topic="r", now=NOW)
    assert found.delivery.attempt == 1_000_000
    assert found.not_before == NOW + 3600


@given(st.lists(st.booleans(), min_size=1), st.randoms())
def test_what_is_committed_never_passes_what_is_not_settled(
    delivered: list[bool], draw: random.Random
) -> None:
    offsets, places = Offsets(), [n for n, there in enumerate(delivered) if there]
    for offset in places:
        offsets.take(offset)
    waiting = [*places]
    draw.shuffle(waiting)
    while waiting:
        floor = offsets.to_commit()
        assert floor is None or floor <= min(waiting)
        if floor is not None:
            offsets.committed(floor)
            assert offsets.to_commit() is None
        offsets.settle(waiting.pop())
    if places:
        assert offsets.to_commit() == places[-1] + 1


def test_every_failure_of_the_client_has_a_code() -> None:
    for early, (kind, _) in enumerate(CLIENT):
        later = [other for other, _ in CLIENT[early + 1 :]]
        assert not any(issubclass(other, kind) and other is not kind for other in later), kind
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.KafkaError):
            known = any(issubclass(kind, each) for each, _ in CLIENT)
            code = translate(kind()).code
            assert known or code is (Code.UNAVAILABLE if kind.retriable else Code.INTERNAL), kind


@dataclass(frozen=True)
class Case:
    id: str
    error: Exception
    code: Code


@pytest.mark.parametrize(
    "case",
    [
        Case("too-large", errors.MessageSizeTooLargeError(), Code.INVALID_ARGUMENT),
        Case("no-topic", errors.UnknownTopicOrPartitionError(), Code.UNAVAILABLE),
        Case("leader-moves", errors.NotLeaderForPartitionError(), Code.UNAVAILABLE),
        Case("rebalanced", errors.CommitFailedError(), Code.ABORTED),
        Case("late", errors.RequestTimedOutError(), Code.DEADLINE_EXCEEDED),
        Case("gap", errors.OutOfOrderSequenceNumber(), Code.INTERNAL),
        Case("refused", ConnectionRefusedError(), Code.UNAVAILABLE),
        Case("stranger", KeyError("x"), Code.INTERNAL),
        Case("ours", NotFound(), Code.NOT_FOUND),
    ],
    ids=lambda case: case.id,
)
def test_a_failure_is_translated(case: Case) -> None:
    assert translate(case.error).code is case.code


TLS = ssl.create_default_context()


@dataclass(frozen=True)
class Way:
    id: str
    access: KafkaAccess
    protocol: str


WAYS = [
    Way("open", OPEN, "PLAINTEXT"),
    Way("tls", KafkaAccess(tls=TLS), "SSL"),
    Way("login", KafkaAccess(tls=TLS, user="ada", password="x"), "SASL_SSL"),
    Way("in the clear", KafkaAccess(user="ada", in_the_clear=True), "SASL_PLAINTEXT"),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.id)
def test_an_access_is_what_the_client_calls_a_protocol(way: Way) -> None:
    options = way.access.options()
    assert options["security_protocol"] == way.protocol
    assert ("sasl_plain_password" in options) is bool(way.access.user)


def test_a_password_is_not_sent_in_the_clear_unless_that_is_said_and_never_shown() -> None:
    with pytest.raises(ValueError, match="without TLS"):
        KafkaAccess(user="ada", password="lovelace")
    assert "lovelace" not in repr(KafkaAccess(tls=TLS, user="ada", password="lovelace"))
