"""Failed authentication has a budget for each address, and costs nothing once that is spent."""

import math
from dataclasses import dataclass, field

import pytest

from paceline.edge import FailureLimit, TooManyFailures, identify
from paceline.errors import Code, Unauthorized
from paceline.resilience import RateLimiter
from paceline.testing import ManualClock, RecordingLog

ATTACKER = "192.0.2.1"


@dataclass(frozen=True)
class Ada:
    subject: str = "ada"
    scopes: frozenset[str] = frozenset()
    expires_at: float = math.inf


@dataclass
class Tokens:
    """Verifies ``good``, remembers what was verified, counts the signatures that it looked at."""

    seen: set[str] = field(default_factory=set[str])
    looked_at: int = 0

    def verify(self, token: str) -> Ada:
        self.looked_at += 1
        if not token.startswith("good"):
            raise Unauthorized("the token's signature is wrong")
        self.seen.add(token)
        return Ada()

    def recall(self, token: str) -> Ada | None:
        return Ada() if token in self.seen else None


class World:
    """A verifier behind a limit of one failure a second, three at once."""

    def __init__(self) -> None:
        self.tokens = Tokens()
        self.clock = ManualClock()
        self.log = RecordingLog()
        limiter = RateLimiter(self.clock, rate=1, burst=3)
        self.failures = FailureLimit(limiter, self.log, self.clock)

    def outcome(self, token: str | None, address: str | None = ATTACKER) -> Code:
        authorization = None if token is None else f"Bearer {token}".encode()
        try:
            identify(self.tokens, authorization, address, self.failures)
        except (Unauthorized, TooManyFailures) as exc:
            return exc.code
        return Code.OK


def test_beyond_the_budget_no_signature_is_looked_at() -> None:
    world = World()
    outcomes = [world.outcome(f"bad{n}") for n in range(100)]
    assert outcomes == [Code.UNAUTHENTICATED] * 3 + [Code.RESOURCE_EXHAUSTED] * 97
    assert world.tokens.looked_at == 3


@pytest.mark.parametrize("token", [None, "", "é"], ids=["none", "empty", "malformed"])
def test_requests_without_a_token_count_as_well(token: str | None) -> None:
    world = World()
    outcomes = [world.outcome(token) for _ in range(5)]
    assert outcomes == [Code.UNAUTHENTICATED] * 3 + [Code.RESOURCE_EXHAUSTED] * 2


def test_a_token_that_is_known_passes_whatever_its_address_has_done() -> None:
    world = World()
    assert world.outcome("good") is Code.OK
    for n in range(100):
        world.outcome(f"bad{n}")
    assert {world.outcome("good") for _ in range(10)} == {Code.OK}


def test_a_new_token_passes_as_soon_as_there_is_budget_and_takes_none() -> None:
    world = World()
    for n in range(100):
        world.outcome(f"bad{n}")
    assert world.outcome("good") is Code.RESOURCE_EXHAUSTED
    world.clock.advance(1)
    assert [world.outcome(f"good{n}") for n in range(10)] == [Code.OK] * 10


def test_it_is_told_when_to_try_again() -> None:
    world = World()
    for n in range(3):
        world.outcome(f"bad{n}")
    for token in (b"Bearer bad", None):
        with pytest.raises(TooManyFailures, match="without a valid token") as caught:
            identify(world.tokens, token, ATTACKER, world.failures)
        assert caught.value.retry_after == pytest.approx(1)


@dataclass(frozen=True)
class Addresses:
    id: str
    one: str | None
    other: str | None
    same: bool


@pytest.mark.parametrize(
    "case",
    [
        Addresses("two hosts", ATTACKER, "192.0.2.2", same=False),
        Addresses("one network of IPv6", "2001:db8::1", "2001:db8::ffff:1", same=True),
        Addresses("two networks of IPv6", "2001:db8::1", "2001:db8:0:1::1", same=False),
        Addresses("no address", None, None, same=True),
        Addresses("a text with colons", "unix:a", "unix:b", same=False),
    ],
    ids=lambda case: case.id,
)
def test_each_address_has_a_budget_of_its_own(case: Addresses) -> None:
    world = World()
    for n in range(10):
        world.outcome(f"bad{n}", case.one)
    want = Code.RESOURCE_EXHAUSTED if case.same else Code.UNAUTHENTICATED
    assert world.outcome("bad", case.other) is want


def test_refusals_are_logged_as_a_sum_every_ten_seconds() -> None:
    world = World()
    for _ in range(3):
        for n in range(100):
            world.outcome(f"bad{n}")
        world.clock.advance(10)
    assert [fields["refused"] for _, _, fields in world.log.lines] == [1, 97, 97]
    assert {fields["client"] for _, _, fields in world.log.lines} == {ATTACKER}
