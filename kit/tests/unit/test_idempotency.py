"""Idempotency keys: which requests are one request, and which process answers it."""

from datetime import UTC, datetime

import msgspec
import pytest

from paceline.idempotency import IdempotencyKey, IdempotencyKeyText, KeyInFlight, KeysInFlight


class Draft(msgspec.Struct, frozen=True):
    name: str
    labels: dict[str, str] = {}
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


def fingerprint(request: object) -> bytes:
    key = IdempotencyKey.of("ada", "k", request)
    assert key is not None
    return key.fingerprint


def test_a_request_without_a_key_has_none() -> None:
    assert IdempotencyKey.of("ada", None, ("draft", Draft("a"))) is None


def test_the_same_request_has_the_same_fingerprint_in_whatever_order_its_keys_come() -> None:
    one, two = Draft("a", {"x": "1", "y": "2"}), Draft("a", {"y": "2", "x": "1"})
    assert fingerprint(("draft", one)) == fingerprint(("draft", two))


def test_another_request_or_operation_has_another_fingerprint() -> None:
    requests = [("draft", Draft("a")), ("draft", Draft("b")), ("order", Draft("a"))]
    assert len({fingerprint(each) for each in requests}) == 3


@pytest.mark.parametrize("text", ["", "a b", "a" * 256, "é", "a\n", "\x7f"])
def test_a_key_is_printable_ascii_without_blanks(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, IdempotencyKeyText)
    assert msgspec.convert("a" * 255, IdempotencyKeyText)


def test_a_key_is_held_by_one_request_at_a_time() -> None:
    keys, key = KeysInFlight(), IdempotencyKey("ada", "k", b"1")
    with keys.hold(key):
        with pytest.raises(KeyInFlight), keys.hold(IdempotencyKey("ada", "k", b"2")):
            pass
        with keys.hold(IdempotencyKey("bob", "k", b"1")):
            pass
    with pytest.raises(ZeroDivisionError), keys.hold(key):
        raise ZeroDivisionError
    with keys.hold(key):
        pass
