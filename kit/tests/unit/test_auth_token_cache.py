"""What `Verifier` remembers, for how long, and what makes it forget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.auth import Principal, Secrets, Verifier, issue_token
from paceline.errors import Unauthorized
from paceline.testing.clock import ManualClock

SECRET = b"an-hmac-key-for-these-tests-only-0"
OTHER = b"another-hmac-key-for-these-tests-1"
NOW = 1_700_000_000


def token(subject: str = "ann", secret: bytes = SECRET) -> str:
    return issue_token(secret, subject=subject, scopes=[], expiry=60, clock=ManualClock(NOW))


GOOD = token()


def outcome(check: Verifier, text: str) -> Principal | str:
    try:
        return check.verify(text)
    except Unauthorized as refused:
        return refused.message


def test_a_remembered_token_gives_the_same_principal_until_it_expires() -> None:
    clock = ManualClock(NOW)
    check = Verifier([Secrets(SECRET)], clock)
    first = check.verify(GOOD)
    assert check.verify(GOOD) is first
    clock.advance(89.9)
    assert check.verify(GOOD) is first
    clock.advance(0.2)
    assert outcome(check, GOOD) == "the token expired"


def test_a_remembered_token_is_refused_when_the_calendar_goes_back_before_it() -> None:
    clock = ManualClock(NOW)
    check = Verifier([Secrets(SECRET)], clock)
    check.verify(GOOD)
    clock.jump(-60)
    assert outcome(check, GOOD) == "the token was issued in the future"


@given(st.lists(st.floats(-200, 200), max_size=12))
def test_a_remembered_answer_is_always_the_one_a_fresh_verification_gives(
    moves: list[float],
) -> None:
    clock = ManualClock(NOW)
    remembering = Verifier([Secrets(SECRET)], clock)
    for move in moves:
        clock.jump(move)
        fresh = Verifier([Secrets(SECRET)], clock, remember=0)
        assert outcome(remembering, GOOD) == outcome(fresh, GOOD)


def test_a_previous_secret_verifies_until_it_is_taken_away_also_from_memory() -> None:
    secrets = Secrets(OTHER, SECRET)
    check = Verifier([secrets], ManualClock(NOW))
    new = token(secret=OTHER)
    assert check.verify(GOOD)
    assert check.verify(new)
    secrets.replace(OTHER)
    assert outcome(check, GOOD) == "the token's signature is wrong"
    assert check.verify(new)


@pytest.mark.parametrize("remember", [1, 2, 5])
def test_as_many_tokens_are_remembered_as_asked_for(remember: int) -> None:
    check = Verifier([Secrets(SECRET)], ManualClock(NOW), remember=remember)
    first = check.verify(GOOD)
    for number in range(remember - 1):
        check.verify(token(str(number)))
    assert check.verify(GOOD) is first
    for number in range(remember):
        check.verify(token(str(100 + number)))
    assert check.verify(GOOD) is not first


def test_a_token_in_use_stays_remembered_while_others_come_and_go() -> None:
    check = Verifier([Secrets(SECRET)], ManualClock(NOW), remember=2)
    first = check.verify(GOOD)
    for number in range(10):
        check.verify(token(str(number)))
        assert check.verify(GOOD) is first


def test_nothing_is_remembered_where_nothing_should_be() -> None:
    check = Verifier([Secrets(SECRET)], ManualClock(NOW), remember=0)
    assert check.verify(GOOD) is not check.verify(GOOD)
