"""The parts of messaging that need no broker: tables, headers, queues, addresses."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import nats.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.errors import Code, Error, NotFound
from paceline.messaging import (
    DeadLetter,
    Delivery,
    DeliveryPolicy,
    Disposition,
    Message,
    QueueError,
    Settlement,
)
from paceline.messaging.dead_letter import kind_of
from paceline.messaging.delivery_policy import DISPOSITIONS, TRANSIENT, PoisonMessage
from paceline.messaging.keyed_queues import KeyedQueues
from paceline.messaging.nats.bus import server_addresses, with_login
from paceline.messaging.nats.connection import size_of
from paceline.messaging.nats.errors import CLIENT, STATUSES, refusal, translate
from paceline.messaging.nats.jetstream import PubAck, decode_answer, parse_ack_subject

letters = st.builds(
    DeadLetter,
    id=st.text(),
    subject=st.text(),
    data=st.binary(),
    consumer=st.text(),
    attempts=st.integers(0, 1000),
    kind=st.text(),
    reason=st.text(),
    died_at=st.datetimes(timezones=st.just(UTC)),
    key=st.text(),
    headers=st.dictionaries(st.text(), st.text()),
    truncated=st.integers(0),
)


@given(letters)
def test_a_dead_letter_is_read_from_its_headers_as_it_was_written(letter: DeadLetter) -> None:
    headers = letter.to_headers()
    assert all(value == value.strip() and value.isascii() for value in headers.values())
    assert all(value.isprintable() for value in headers.values())
    # What a server and its client do to headers.
    wire = {name: value.strip().encode().decode() for name, value in headers.items()}
    assert DeadLetter.from_headers({**wire, "Nats-Sequence": "7"}, letter.data) == letter


@given(st.dictionaries(st.sampled_from([*DeadLetter(
    "", "", b"", "", 0, "", "", datetime.now(UTC)).to_headers()]), st.text()))  # fmt: skip
def test_what_is_no_dead_letter_is_refused(headers: dict[str, str]) -> None:
    try:
        DeadLetter.from_headers(headers, b"")
    except Error as exc:
        code = exc.code
    else:
        code = Code.DATA_LOSS
    assert code is Code.DATA_LOSS


def test_every_code_has_a_disposition() -> None:
    assert set(DISPOSITIONS) == set(Code)
    assert {DISPOSITIONS[code] for code in TRANSIENT} == {Disposition.RETRY}


def test_every_failure_of_the_client_has_a_code() -> None:
    for kind in vars(nats.errors).values():
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert any(issubclass(kind, known) for known, _ in CLIENT), kind
    for early, (kind, _) in enumerate(CLIENT):
        later = [other for other, _ in CLIENT[early + 1 :]]
        assert not any(issubclass(other, kind) and other is not kind for other in later), kind


@dataclass(frozen=True)
class Case:
    id: str
    error: Exception
    code: Code


@pytest.mark.parametrize(
    "case",
    [
        Case("closed", nats.errors.ConnectionClosedError(), Code.UNAVAILABLE),
        Case("timeout", nats.errors.TimeoutError(), Code.DEADLINE_EXCEEDED),
        Case("subject", nats.errors.BadSubjectError(), Code.INVALID_ARGUMENT),
        Case("refused", ConnectionRefusedError(), Code.UNAVAILABLE),
        Case("another", nats.errors.Error("x"), Code.INTERNAL),
        Case("stranger", KeyError("x"), Code.INTERNAL),
        Case("ours", NotFound(), Code.NOT_FOUND),
    ],
    ids=lambda case: case.id,
)
def test_a_failure_is_translated(case: Case) -> None:
    assert translate(case.error).code is case.code


def test_jetstreams_refusals_have_a_code_and_a_number_and_keep_its_text_to_the_log() -> None:
    for status, code in STATUSES.items():
        error = refusal(status, 1, "stream SECRET")
        assert error.code is code
        assert "SECRET" not in error.message
    assert refusal(503, 10077, "maximum messages exceeded").code is Code.RESOURCE_EXHAUSTED
    assert refusal(999, 1, "").code is Code.INTERNAL


@given(st.binary())
def test_every_answer_is_decoded_or_refused(data: bytes) -> None:
    with suppress(QueueError):
        decode_answer(data, PubAck)


@pytest.mark.parametrize(
    ("attempt", "delay"), [(1, 5.0), (2, 10.0), (3, 20.0)], ids=["first", "second", "third"]
)
def test_the_delay_grows_with_the_attempts(attempt: int, delay: float) -> None:
    policy = DeliveryPolicy(max_attempts=5, retry_delay=5.0, backoff=2.0)
    settlement = policy.settlement(Delivery("1", "a", b"", "r", attempt), ValueError("x"))
    assert (settlement.disposition, settlement.delay) == (Disposition.RETRY, delay)


def test_what_is_delivered_again_and_again_without_an_outcome_is_poison() -> None:
    policy = DeliveryPolicy(max_attempts=5)
    policy.check_deliveries(Delivery("1", "a", b"", "r", deliveries=50))
    with pytest.raises(PoisonMessage):
        policy.check_deliveries(Delivery("1", "a", b"", "r", deliveries=51))


async def test_a_queue_gives_only_deliveries_with_the_same_limit_together_and_in_order() -> None:
    queues = KeyedQueues(1)
    queues.open()
    attempts = [1, 1, 1, 2, 1, 3, 3]
    for number, attempt in enumerate(attempts):
        queues.add(Delivery(str(number), "a", b"", "r", attempt))

    def limit(delivery: Delivery) -> int:
        return {1: 2, 2: 5, 3: 1}[delivery.attempt]

    taken = [[each.id for each in await queues.take(0, limit)] for _ in range(6)]
    assert taken == [["0", "1"], ["2"], ["3"], ["4"], ["5"], ["6"]]
    queues.close()
    assert await queues.take(0, limit) == []


def test_the_kind_of_an_error_is_its_own_or_its_code_or_its_type() -> None:
    assert kind_of(Error(Code.NOT_FOUND, "x")) == "not-found"
    assert kind_of(PoisonMessage(3)) == "poison-message"
    assert kind_of(ValueError()) == "ValueError"


def test_a_reason_is_bounded_and_has_no_secrets() -> None:
    error = ValueError("cannot reach postgresql://ada:hunter2@db/x " + "y" * 5000)
    dead = Settlement(Delivery("1", "a", b"", "r"), Disposition.DEAD_LETTER, error=error)
    reason = DeadLetter.of(dead, "maker").reason
    assert "hunter2" not in reason
    assert len(reason) <= 2000


def test_an_address_is_shown_without_its_login() -> None:
    configured = ["nats://ada:secret@one:4222", "two:4223"]
    assert server_addresses(configured) == "one:4222, two:4223"
    found = with_login(["nats://one:4222", "nats://three:4222"], configured)
    assert found == [*configured, "nats://ada:secret@three:4222"]


def test_a_messages_size_counts_its_headers() -> None:
    assert size_of(b"12345", None) == 5
    assert size_of(b"", {"A": "é"}) == len(b"NATS/1.0\r\nA: \xc3\xa9\r\n\r\n")


def test_a_message_is_equal_to_another_with_the_same_fields() -> None:
    assert Message("a", b"", "1") == Message("a", b"", "1")


@pytest.mark.parametrize(
    "subject",
    [
        "$JS.ACK.S.d.3.17.9.1700000000000000001.4",
        "$JS.ACK._.hash.S.d.3.17.9.1700000000000000001.4.x",
    ],
    ids=["old", "new"],
)
def test_an_ack_subject_is_parsed_whatever_the_servers_version(subject: str) -> None:
    assert parse_ack_subject(subject) == (3, 17, "1700000000000000001")


@given(st.text())
def test_what_is_no_ack_subject_is_refused(subject: str) -> None:
    with suppress(QueueError):
        parse_ack_subject(subject)
