"""Who a request comes from, and how many failures an address may have.

Looking at a signature costs more than most answers, and each refusal has a line in the log. So an
address has a budget of failures; when it is spent, its requests are refused before their tokens are
looked at, and without a line each. Invariant: a token that is verified already passes whatever its
address has done, since many callers may share one; nothing but failures is counted.

A new token of a caller who shares an address with an attacker is refused until it meets a moment
with budget. Rejected: budgets by the subject that an unverified token names, which an attacker
chooses.
"""

from ipaddress import AddressValueError, IPv6Address
from typing import Final

from paceline.clock import Clock
from paceline.edge.bearer import Caller, TokenVerifier, bearer_token
from paceline.edge.rate_limit import RateLimited
from paceline.errors import Unauthorized
from paceline.log import Logger
from paceline.resilience import RateLimiter

_SUMMARY_INTERVAL: Final = 10.0
_SUBNET_BITS: Final = 64


class TooManyFailures(RateLimited):
    """The request's address has sent too many requests without a valid token."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            retry_after, "too many requests without a valid token from this address, slow down"
        )


class FailureLimit:
    """What each address may fail: as ``limiter`` says, for IPv6 each network of 64 bits.

    Refusals are logged as a sum, every ten seconds at most.
    """

    __slots__ = ("_clock", "_limiter", "_log", "_logged_at", "_refused")

    def __init__(self, limiter: RateLimiter, log: Logger, clock: Clock) -> None:
        self._limiter = limiter
        self._log = log
        self._clock = clock
        self._refused = 0
        self._logged_at = float("-inf")

    def check(self, address: str | None) -> None:
        """Refuse an address that has failed too often. Errors: TooManyFailures."""
        wait = self._limiter.retry_after(_network_of(address))
        if wait:
            raise self._refusal(address, wait)

    def count(self, address: str | None) -> None:
        """Count a failure. Errors: TooManyFailures if the address has spent its budget."""
        decision = self._limiter.take(_network_of(address))
        if not decision.allowed:
            raise self._refusal(address, decision.retry_after)

    def _refusal(self, address: str | None, wait: float) -> TooManyFailures:
        self._refused += 1
        now = self._clock.monotonic()
        if now - self._logged_at >= _SUMMARY_INTERVAL:
            self._log.warning(
                "requests refused for failed authentication", refused=self._refused, client=address
            )
            self._logged_at = now
            self._refused = 0
        return TooManyFailures(wait)


def recall(verifier: TokenVerifier, authorization: bytes | None) -> Caller | None:
    """The caller of a request whose token is known, which is nearly every one; else `identify`."""
    if authorization is None or authorization[:7] != b"Bearer ":
        return None
    return verifier.recall(authorization[7:].decode("latin-1"))


def identify(
    verifier: TokenVerifier,
    authorization: bytes | None,
    address: str | None,
    failures: FailureLimit | None,
) -> Caller:
    """The caller of a request, by its ``Authorization`` value.

    Errors: Unauthorized (MissingToken without a value), TooManyFailures.
    """
    try:
        token = bearer_token(authorization)
        if failures is None:
            return verifier.verify(token)
        caller = verifier.recall(token)
        if caller is not None:
            return caller
        failures.check(address)
        return verifier.verify(token)
    except Unauthorized:
        if failures is not None:
            failures.count(address)
        raise


def _network_of(address: str | None) -> str:
    if address is None or ":" not in address:
        return address or ""
    try:
        number = int(IPv6Address(address))
    except AddressValueError:
        return address
    return f"{number >> _SUBNET_BITS:x}::"
