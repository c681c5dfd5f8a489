"""Token secrets: which are weak, and what can be signed with one."""

import secrets
import subprocess
import sys
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from paceline.auth import HmacSecrets, issue_token, secret_weakness
from paceline.errors import ValidationError
from paceline.testing.clock import ManualClock

WORDS = "is made of well-known words"
PATTERN = "is a short pattern, repeated"
GOOD = b"kV7qTz1xWm4LrB8cYh2pJd6sNf9gQa3e"


@dataclass(frozen=True)
class Weak:
    name: str
    secret: bytes = field(repr=False)
    why: str


@pytest.mark.parametrize(
    "case",
    [
        Weak("empty", b"", "is shorter than 32 bytes"),
        Weak("31 bytes", GOOD[:31], "is shorter than 32 bytes"),
        Weak("one character", b"x" * 64, PATTERN),
        Weak("zero bytes", bytes(32), PATTERN),
        Weak("two characters in turn", b"ab" * 20, PATTERN),
        Weak("a pattern cut off", (b"hunter2!" * 8)[:45], PATTERN),
        Weak("few characters", b"aabbabbababbbaabababbaababbbabab", "has fewer than 8 different characters"),
        Weak("changeme", b"changeme-changeme-please-changeme!", WORDS),
        Weak("secret", b"secret-secret-my-very-long-jwt-secret-key", WORDS),
        Weak("your-256-bit-secret", b"your-256-bit-secret-your-256-bit-key", WORDS),
        Weak("for production", b"CHANGE_ME_IN_PRODUCTION_0123456789", WORDS),
        Weak("supersecret", b"SuperSecretKeyForLocalDevelopment!", WORDS),
        Weak("digits and letters in order", b"0123456789abcdefghijklmnopqrstuvwxyz", WORDS),
    ],
    ids=lambda case: case.name,
)  # fmt: skip
def test_a_weak_secret_is_refused_with_its_reason(case: Weak) -> None:
    assert secret_weakness(case.secret) == case.why


@pytest.mark.parametrize("make", [secrets.token_bytes, secrets.token_hex, secrets.token_urlsafe])
def test_a_generated_secret_is_never_weak(make: object) -> None:
    if not callable(make):
        raise TypeError
    for _ in range(200):
        secret = make(32)
        assert (
            secret_weakness(secret if isinstance(secret, bytes) else str(secret).encode()) is None
        )


@given(st.binary(max_size=80))
def test_a_reason_never_quotes_the_secret(secret: bytes) -> None:
    why = secret_weakness(secret)
    assert why is None or len(secret) < 4 or secret.decode("latin-1") not in why


@pytest.mark.parametrize("secret", [b"", GOOD[:31]])
def test_a_short_secret_is_never_used(secret: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        HmacSecrets(secret)
    with pytest.raises(ValueError, match="32 bytes"):
        HmacSecrets(GOOD, secret)
    with pytest.raises(ValueError, match="32 bytes"):
        issue_token(secret, subject="a", scopes=[], expiry=1, clock=ManualClock())


def test_a_public_key_is_not_a_secret() -> None:
    pem = RSAKey.generate_key(2048).as_pem(private=False)
    with pytest.raises(ValueError, match="public key"):
        HmacSecrets(pem)


@dataclass(frozen=True)
class BadIssue:
    name: str
    field: str
    subject: str = "ann"
    scopes: tuple[str, ...] = ()
    expiry: float = 60


@pytest.mark.parametrize(
    "case",
    [
        BadIssue("no subject", "subject", subject=""),
        BadIssue("a control character", "subject", subject="a\nb"),
        BadIssue("an empty scope", "scopes", scopes=("a", "")),
        BadIssue("a scope with a space", "scopes", scopes=("a b",)),
        BadIssue("too many scopes", "scopes", scopes=("scope",) * 2_000),
        BadIssue("no lifetime", "expiry", expiry=0),
        BadIssue("a negative lifetime", "expiry", expiry=-1),
        BadIssue("no number", "expiry", expiry=float("nan")),
        BadIssue("for ever", "expiry", expiry=float("inf")),
        BadIssue("beyond the calendar", "expiry", expiry=1e12),
    ],
    ids=lambda case: case.name,
)
def test_a_token_that_would_be_refused_cannot_be_issued(case: BadIssue) -> None:
    with pytest.raises(ValidationError) as caught:
        issue_token(
            GOOD,
            subject=case.subject,
            scopes=case.scopes,
            expiry=case.expiry,
            clock=ManualClock(),
        )
    assert caught.value.field == case.field


def test_two_tokens_are_never_the_same() -> None:
    clock = ManualClock()
    tokens = {issue_token(GOOD, subject="a", scopes=[], expiry=1, clock=clock) for _ in range(10)}
    assert len(tokens) == 10


def test_without_the_extra_a_secret_can_be_checked_and_verifying_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['joserfc'] = None\n"
        "from paceline.auth import Principal, jwks_fetcher, secret_weakness\n"
        "print(secret_weakness(b''))\n"
        "try: from paceline.auth import JwtVerifier\n"
        "except ImportError as exc: print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "is shorter than 32 bytes" in done.stdout
    assert "pip install 'paceline[auth]'" in done.stdout
