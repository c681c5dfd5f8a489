"""The cache of verified tokens: what is in it, for how long, and what removes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.auth import HmacSecrets, JwtVerifier, Principal, issue_token
from paceline.errors import Unauthorized
from paceline.testing.clock import ManualClock

SECRET = b"an-hmac-key-for-these-tests-only-0"
OTHER = b"another-hmac-key-for-these-tests-1"
NOW = 1_700_000_000


def token(subject: str = "ann", secret: bytes = SECRET) -> str:
    return issue_token(secret, subject=subject, scopes=[], expiry=60, clock=ManualClock(NOW))


GOOD = token()


def outcome(check: JwtVerifier, text: str) -> Principal | str:
    try:
        return check.verify(text)
    except Unauthorized as refused:
        return refused.message


def test_a_cached_token_gives_the_same_principal_until_it_expires() -> None:
    clock = ManualClock(NOW)
    check = JwtVerifier([HmacSecrets(SECRET)], clock)
    first = check.verify(GOOD)
    assert check.verify(GOOD) is first
    clock.advance(89.9)
    assert check.verify(GOOD) is first
    clock.advance(0.2)
    assert outcome(check, GOOD) == "the token expired"


def test_a_cached_token_is_refused_when_the_wall_clock_is_set_back_before_it() -> None:
    clock = ManualClock(NOW)
    check = JwtVerifier([HmacSecrets(SECRET)], clock)
    check.verify(GOOD)
    clock.jump(-60)
    assert outcome(check, GOOD) == "the token was issued in the future"


@given(st.lists(st.floats(-200, 200), max_size=12))
def test_a_cached_result_is_always_the_one_of_a_fresh_verification(
    moves: list[float],
) -> None:
    clock = ManualClock(NOW)
    caching = JwtVerifier([HmacSecrets(SECRET)], clock)
    for move in moves:
        clock.jump(move)
        fresh = JwtVerifier([HmacSecrets(SECRET)], clock, cache_size=0)
        assert outcome(caching, GOOD) == outcome(fresh, GOOD)


def test_a_previous_secret_verifies_until_it_is_removed_cached_tokens_included() -> None:
    secrets = HmacSecrets(OTHER, SECRET)
    check = JwtVerifier([secrets], ManualClock(NOW))
    new = token(secret=OTHER)
    assert check.verify(GOOD)
    assert check.verify(new)
    secrets.replace(OTHER)
    assert outcome(check, GOOD) == "the token's signature is wrong"
    assert check.verify(new)


@pytest.mark.parametrize("cache_size", [1, 2, 5])
def test_at_most_cache_size_tokens_are_cached(cache_size: int) -> None:
    check = JwtVerifier([HmacSecrets(SECRET)], ManualClock(NOW), cache_size=cache_size)
    first = check.verify(GOOD)
    for number in range(cache_size - 1):
        check.verify(token(str(number)))
    assert check.verify(GOOD) is first
    for number in range(cache_size):
        check.verify(token(str(100 + number)))
    assert check.verify(GOOD) is not first


def test_a_token_in_use_stays_cached_while_others_are_evicted() -> None:
    check = JwtVerifier([HmacSecrets(SECRET)], ManualClock(NOW), cache_size=2)
    first = check.verify(GOOD)
    for number in range(10):
        check.verify(token(str(number)))
        assert check.verify(GOOD) is first


def test_with_a_cache_size_of_zero_nothing_is_cached() -> None:
    check = JwtVerifier([HmacSecrets(SECRET)], ManualClock(NOW), cache_size=0)
    assert check.verify(GOOD) is not check.verify(GOOD)
