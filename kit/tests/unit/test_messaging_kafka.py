"""The parts of the Kafka room that need no broker: headers, offsets, errors, security."""

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
from paceline.messaging.kafka.offsets import OffsetTracker
from paceline.messaging.kafka.records import (
    RESERVED,
    Headers,
    parse_record,
    to_headers,
    to_retry_headers,
)
from paceline.messaging.kafka.security import NO_SECURITY, KafkaSecurity
from paceline.messaging.message import Message

NOW = 1_800_000_000.0
text = st.text(st.characters(exclude_categories=["Cs"]))
own = st.dictionaries(text.filter(lambda name: name not in RESERVED), text)


@dataclass
class FakeRecord:
    """A record as a broker would give it."""

    topic: str = "things.made"
    partition: int = 3
    offset: int = 7
    key: bytes | None = None
    value: bytes | None = b"{}"
    headers: list[tuple[str, bytes | None]] = field(default_factory=list[tuple[str, bytes | None]])


def record(headers: Headers, topic: str = "things.made", key: str = "") -> FakeRecord:
    return FakeRecord(topic, key=key.encode(), headers=[*headers])


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), text, own)
def test_a_message_is_read_as_it_was_written(ident: str, key: str, headers: dict[str, str]) -> None:
    message = Message("things.made", b"{}", ident, key, headers)
    delivery = parse_record(
        record(to_headers(message), key=key), retry_topic="retry.g", now=NOW
    ).delivery
    assert (delivery.id, delivery.key, delivery.headers) == (ident, key, headers)
    assert (delivery.subject, delivery.data, delivery.attempt) == ("things.made", b"{}", 1)


@given(text.filter(bool), own, st.integers(1, 1000), st.floats(0, 3000))
def test_a_failed_message_is_read_with_its_attempt_and_due_time(
    subject: str, headers: dict[str, str], attempt: int, wait: float
) -> None:
    failed = Delivery("m1", subject, b"{}", "r", headers=headers)
    again = to_retry_headers(failed, attempt, NOW + wait)
    found = parse_record(record(again, "retry.g"), retry_topic="retry.g", now=NOW)
    assert (found.delivery.id, found.delivery.subject) == ("m1", subject)
    assert (found.delivery.attempt, found.delivery.headers) == (attempt, headers)
    assert found.not_before == pytest.approx(NOW + wait, abs=0.002)


@given(
    st.sampled_from(["things.made", "retry.g"]),
    st.none() | st.binary(),
    st.lists(st.tuples(text | st.sampled_from(sorted(RESERVED)), st.none() | st.binary())),
)
def test_every_record_becomes_a_delivery(
    topic: str, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    found = parse_record(
        FakeRecord(topic, key=key, value=None, headers=headers), retry_topic="retry.g", now=NOW
    )
    assert found.delivery.id
    assert found.delivery.data == b""
    assert found.delivery.attempt >= 1
    assert found.not_before <= NOW + 3601


def test_attempts_are_read_from_the_retry_topic_only() -> None:
    forged = to_retry_headers(Delivery("m1", "other", b"", "r"), 5, NOW + 100)
    found = parse_record(record(forged), retry_topic="retry.g", now=NOW)
    assert (found.delivery.subject, found.delivery.attempt) == ("things.made", 1)
    assert found.not_before == 0.0


def test_a_record_without_an_id_gets_its_position_as_id() -> None:
    assert parse_record(FakeRecord(), retry_topic="r", now=NOW).delivery.id == "things.made:3:7"


def test_a_number_of_a_million_digits_is_bounded() -> None:
    headers = [("Retry-Attempt", b"9" * 1_000_000), ("Retry-Not-Before", b"9" * 1_000_000)]
    found = parse_record(record([*headers], "r"), retry_topic="r", now=NOW)
    assert found.delivery.attempt == 1_000_000
    assert found.not_before == NOW + 3600


@given(st.lists(st.booleans(), min_size=1), st.randoms())
def test_what_is_committed_never_passes_what_is_not_settled(
    delivered: list[bool], draw: random.Random
) -> None:
    offsets, positions = OffsetTracker(), [n for n, there in enumerate(delivered) if there]
    for offset in positions:
        offsets.add(offset)
    waiting = [*positions]
    draw.shuffle(waiting)
    while waiting:
        floor = offsets.committable()
        assert floor is None or floor <= min(waiting)
        if floor is not None:
            offsets.note_committed(floor)
            assert offsets.committable() is None
        offsets.settle(waiting.pop())
    if positions:
        assert offsets.committable() == positions[-1] + 1


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
class SecurityCase:
    id: str
    security: KafkaSecurity
    protocol: str


CASES = [
    SecurityCase("open", NO_SECURITY, "PLAINTEXT"),
    SecurityCase("tls", KafkaSecurity(tls=TLS), "SSL"),
    SecurityCase("login", KafkaSecurity(tls=TLS, user="ada", password="x"), "SASL_SSL"),
    SecurityCase(
        "plaintext login", KafkaSecurity(user="ada", plaintext_login=True), "SASL_PLAINTEXT"
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_security_is_passed_on_as_the_clients_protocol(case: SecurityCase) -> None:
    options = case.security.options()
    assert options["security_protocol"] == case.protocol
    assert ("sasl_plain_password" in options) is bool(case.security.user)


def test_a_password_is_sent_unencrypted_only_on_request_and_never_shown() -> None:
    with pytest.raises(ValueError, match="without TLS"):
        KafkaSecurity(user="ada", password="lovelace")
    assert "lovelace" not in repr(KafkaSecurity(tls=TLS, user="ada", password="lovelace"))
