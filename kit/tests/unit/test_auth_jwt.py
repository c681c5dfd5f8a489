"""Which tokens `JwtVerifier` accepts, and which it refuses, with which reason."""

import hmac
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from paceline.auth import HmacSecrets, JwtVerifier, KeySource, Principal, issue_token
from paceline.auth.keys import ALGORITHMS, KeySet, VerificationKey
from paceline.errors import Code, Unauthorized
from paceline.testing.clock import ManualClock

SECRET = b"an-hmac-key-for-these-tests-only-0"
OTHER = b"another-hmac-key-for-these-tests-1"
NOW = 1_700_000_000
CLAIMS: Mapping[str, object] = {"sub": "ann", "exp": NOW + 60}
RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
ED = OKPKey.generate_key("Ed25519")

Key = OctKey | RSAKey | ECKey | OKPKey


class Published:
    """A key source that counts how often an unknown key was reported."""

    def __init__(self, *keys: VerificationKey) -> None:
        self.keys = KeySet(keys)
        self.misses: list[str] = []

    def on_unknown_key(self, algorithm: str) -> None:
        self.misses.append(algorithm)


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(header: bytes, payload: bytes, algorithm: str, key: Key) -> str:
    signed = f"{b64(header)}.{b64(payload)}"
    return f"{signed}.{b64(ALGORITHMS[algorithm].sign(signed.encode(), key))}"


def hs256(
    claims: Mapping[str, object] | bytes = CLAIMS,
    *,
    header: Mapping[str, object] | bytes | None = None,
    secret: bytes = SECRET,
) -> str:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    head = header if isinstance(header, bytes) else json.dumps(header or {"alg": "HS256"}).encode()
    return sign(head, payload, "HS256", OctKey.import_key(secret))


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in CLAIMS.items() if key != name}


def verifier(
    *sources: KeySource,
    clock: ManualClock | None = None,
    issuer: str | None = None,
    audience: str | None = None,
) -> JwtVerifier:
    return JwtVerifier(
        sources or [HmacSecrets(SECRET)],
        clock or ManualClock(NOW),
        issuer=issuer,
        audience=audience,
    )


def refusal(check: JwtVerifier, token: str) -> str:
    with pytest.raises(Unauthorized) as caught:
        check.verify(token)
    return caught.value.message


# Accepted


@dataclass(frozen=True)
class Named:
    id: str
    claims: Mapping[str, object]
    subject: str
    several: bool = True


@pytest.mark.parametrize(
    "case",
    [
        Named("one issuer", {"iss": "https://a", "sub": "ann"}, "ann", several=False),
        Named("several", {"iss": "https://a", "sub": "ann"}, "https://a ann"),
        Named("another", {"iss": "https://b", "sub": "ann"}, "https://b ann"),
        Named("a blank in the subject", {"iss": "a", "sub": "b c"}, "a b c"),
    ],
    ids=lambda case: case.id,
)
def test_of_several_issuers_the_issuer_is_a_part_of_the_subject(case: Named) -> None:
    published = Published(VerificationKey("EdDSA", ED))
    check = JwtVerifier([published], ManualClock(NOW), several_issuers=case.several)
    payload = json.dumps({**CLAIMS, **case.claims}).encode()
    assert check.verify(sign(b'{"alg":"EdDSA"}', payload, "EdDSA", ED)).subject == case.subject


def test_a_token_of_our_own_secret_keeps_its_subject_beside_several_issuers() -> None:
    sources: list[KeySource] = [HmacSecrets(SECRET), Published(VerificationKey("EdDSA", ED))]
    check = JwtVerifier(sources, ManualClock(NOW), several_issuers=True)
    assert check.verify(hs256()).subject == "ann"
    assert check.verify(hs256({**CLAIMS, "iss": "https://a"})).subject == "ann"


@pytest.mark.parametrize("issuer", [None, "", "a b"])
def test_of_several_issuers_a_token_must_say_which_without_blanks(issuer: str | None) -> None:
    published = Published(VerificationKey("EdDSA", ED))
    check = JwtVerifier([published], ManualClock(NOW), several_issuers=True)
    claims = CLAIMS if issuer is None else {**CLAIMS, "iss": issuer}
    token = sign(b'{"alg":"EdDSA"}', json.dumps(claims).encode(), "EdDSA", ED)
    assert "needs an issuer" in refusal(check, token)


def test_a_token_gives_its_principal() -> None:
    claims = {**CLAIMS, "scope": "records:read  records:write", "iss": "us", "jti": "1"}
    principal = verifier().verify(hs256(claims))
    assert principal == Principal(
        subject="ann",
        scopes=frozenset({"records:read", "records:write"}),
        expires_at=NOW + 60,
        issuer="us",
        token_id="1",
    )


@dataclass(frozen=True)
class Scopes:
    name: str
    claims: Mapping[str, object]
    want: frozenset[str]


@pytest.mark.parametrize(
    "case",
    [
        Scopes("none", {}, frozenset()),
        Scopes("an empty string", {"scope": ""}, frozenset()),
        Scopes("a string", {"scope": "a b a"}, frozenset("ab")),
        Scopes("a list", {"scp": ["a", "b"]}, frozenset("ab")),
        Scopes("scp as a string", {"scp": "a b"}, frozenset("ab")),
        Scopes("scopes", {"scopes": ["a"]}, frozenset("a")),
        Scopes("the standard name wins", {"scopes": ["a"], "scope": "b"}, frozenset("b")),
    ],
    ids=lambda case: case.name,
)
def test_scopes_are_read_from_the_claims_that_issuers_write(case: Scopes) -> None:
    assert verifier().verify(hs256({**CLAIMS, **case.claims})).scopes == case.want


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_the_types_of_access_tokens_are_accepted(kind: str) -> None:
    assert verifier().verify(hs256(header={"alg": "HS256", "typ": kind}))


@dataclass(frozen=True)
class Asymmetric:
    algorithm: str
    key: RSAKey | ECKey | OKPKey


@pytest.mark.parametrize(
    "case",
    [Asymmetric("RS256", RSA), Asymmetric("ES256", EC), Asymmetric("EdDSA", ED)],
    ids=lambda case: case.algorithm,
)
def test_each_public_key_algorithm_verifies_its_own_and_no_other_payload(case: Asymmetric) -> None:
    check = verifier(Published(VerificationKey(case.algorithm, case.key, kid="k")))
    header = json.dumps({"alg": case.algorithm, "kid": "k"}).encode()
    token = sign(header, json.dumps(CLAIMS).encode(), case.algorithm, case.key)
    assert check.verify(token).subject == "ann"
    head, _, signature = token.split(".")
    other = b64(json.dumps({**CLAIMS, "sub": "eve"}).encode())
    assert refusal(check, f"{head}.{other}.{signature}") == "the token's signature is wrong"
    for bad in (b"", b"\0" * 64, b"\0" * 256, b"\xff" * 64):
        assert refusal(check, f"{head}.{other}.{b64(bad)}") == "the token's signature is wrong"


def test_the_audience_may_be_one_of_several() -> None:
    check = verifier(issuer="us", audience="records")
    assert check.verify(hs256({**CLAIMS, "iss": "us", "aud": "records"}))
    assert check.verify(hs256({**CLAIMS, "iss": "us", "aud": ["orders", "records"]}))


def test_times_are_checked_with_the_leeway() -> None:
    clock = ManualClock(NOW)
    token = hs256({**CLAIMS, "nbf": NOW + 30, "iat": NOW + 30})
    for moment, accepted in [(-0.1, False), (0.0, True), (89.9, True), (90.0, False)]:
        clock.jump(NOW + moment - clock.time())
        if accepted:
            assert verifier(clock=clock).verify(token)
        else:
            refusal(verifier(clock=clock), token)


# Refused


@dataclass(frozen=True)
class Bad:
    name: str
    token: str = field(repr=False)
    why: str = "the token is malformed"


def rs256_confusion() -> str:
    """The public key, which everybody has, as the HMAC secret."""
    head, payload = b64(b'{"alg":"HS256"}'), b64(json.dumps(CLAIMS).encode())
    signed = f"{head}.{payload}".encode()
    mac = hmac.digest(RSA.as_pem(private=False), signed, "sha256")
    return f"{head}.{payload}.{b64(mac)}"


GOOD = hs256()
HEAD, BODY, SIGNATURE = GOOD.split(".")
NOT_ACCEPTED = "the token's algorithm is not accepted"
BAD_HEADER = "the token has a header that is not accepted"
WRONG = "the token's signature is wrong"
UNKNOWN = "the token's key is not known"

BAD = [
    Bad("empty", ""),
    Bad("dots", ".."),
    Bad("one part", HEAD),
    Bad("two parts", f"{HEAD}.{BODY}"),
    Bad("four parts", f"{GOOD}.{SIGNATURE}"),
    Bad("five parts, encrypted", f"{GOOD}.{BODY}.{BODY}", "encrypted tokens are not accepted"),
    Bad("truncated", GOOD[:-1]),
    Bad("signature left out", f"{HEAD}.{BODY}.", WRONG),
    Bad("not ASCII", f"{HEAD}.{BODY}.é"),
    Bad("lone surrogate", f"{HEAD}.{BODY}.\ud800"),
    Bad("digits of another script", GOOD + "\u0661"),
    Bad("padded", GOOD + "="),
    Bad("white space after", GOOD + " "),
    Bad("newline after", GOOD + "\n"),
    Bad("the other base64", f"{HEAD}.{BODY}.+/{SIGNATURE[2:]}"),
    Bad("just too long", "a" * 8193, "the token is too long"),
    Bad("huge", hs256({**CLAIMS, "x": "a" * 100_000}), "the token is too long"),
    Bad("forged with another secret", hs256(secret=OTHER), WRONG),
    Bad("signature of another token", f"{HEAD}.{BODY}.{hs256(without('exp')).split('.')[2]}", WRONG),
    *(
        Bad(f"alg {alg!r}", hs256(header={"alg": alg}), NOT_ACCEPTED)
        for alg in ("none", "None", "NONE", "nOnE", "", " ", "hs256", "HS384", "HS512", "ES256K")
    ),
    *(
        Bad(f"alg {alg!r} unsigned", f"{b64(json.dumps({'alg': alg}).encode())}.{BODY}.", NOT_ACCEPTED)
        for alg in ("none", "None", "NONE", "nOnE")
    ),
    *(
        Bad(f"alg is {alg!r}", hs256(header={"alg": alg}), NOT_ACCEPTED)
        for alg in (None, 1, ["HS256"], {"HS256": 1}, True)
    ),
    Bad("no alg", hs256(header={"typ": "JWT"}), NOT_ACCEPTED),
    Bad("public key as secret", rs256_confusion(), WRONG),
    Bad("another algorithm's key", hs256(header={"alg": "RS256", "kid": "rsa"}), WRONG),
    Bad("unknown kid", hs256(header={"alg": "RS256", "kid": "gone"}), UNKNOWN),
    Bad("kid is a number", hs256(header={"alg": "HS256", "kid": 1})),
    Bad("kid is null", hs256(header={"alg": "HS256", "kid": None})),
    Bad("crit", hs256(header={"alg": "HS256", "crit": ["exp"]}), BAD_HEADER),
    Bad("empty crit", hs256(header={"alg": "HS256", "crit": []}), BAD_HEADER),
    Bad("b64", hs256(header={"alg": "HS256", "b64": False}), BAD_HEADER),
    Bad("zip", hs256(header={"alg": "HS256", "zip": "DEF"}), BAD_HEADER),
    Bad("enc", hs256(header={"alg": "HS256", "enc": "A128GCM"}), BAD_HEADER),
    Bad("logout token", hs256(header={"alg": "HS256", "typ": "logout+jwt"}),
        "the token's type is not accepted"),
    Bad("typ is a number", hs256(header={"alg": "HS256", "typ": 1}),
        "the token's type is not accepted"),
    Bad("duplicate alg", hs256(header=b'{"alg":"none","alg":"HS256"}')),
    Bad("header not an object", hs256(header=b'["HS256"]')),
    Bad("header not JSON", hs256(header=b"HS256")),
    Bad("header not UTF-8", hs256(header=b'{"alg":"HS256","x":"\xff"}')),
    Bad("deeply nested header", hs256(header=b'{"x":' + b"[" * 4_000)),
    Bad("payload a list", hs256(b"[]")),
    Bad("payload a string", hs256(b'"ann"')),
    Bad("payload null", hs256(b"null")),
    Bad("payload empty", hs256(b"")),
    Bad("payload not UTF-8", hs256(b'{"sub":"\xff"}')),
    Bad("payload deeply nested", hs256(b'{"x":' + b"[" * 5_000)),
    Bad("trailing data", hs256(json.dumps(CLAIMS).encode() + b"{}")),
    Bad("duplicate claim", hs256(f'{{"sub":"ann","sub":"eve","exp":{NOW + 9}}}'.encode())),
    Bad("duplicate inside", hs256(f'{{"sub":"a","exp":{NOW + 9},"x":{{"y":1,"y":1}}}}'.encode())),
    Bad("expired", hs256({**CLAIMS, "exp": NOW - 30}), "the token expired"),
    Bad("not yet valid", hs256({**CLAIMS, "nbf": NOW + 31}), "the token is not valid yet"),
    Bad("from the future", hs256({**CLAIMS, "iat": NOW + 31}), "the token was issued in the future"),
    Bad("no exp", hs256(without("exp")), "the token has no expiry"),
    *(
        Bad(f"exp {value}", hs256(f'{{"sub":"ann","exp":{value}}}'.encode()))
        for value in (
            '"2000000000"', "true", "null", "NaN", "Infinity", "-Infinity", "-1", "1e400", "[]",
            "1" * 300, "1" * 5_000, f"{NOW + 60}000",
        )
    ),
    *(
        Bad(f"{name} {value!r}", hs256({**CLAIMS, name: value}))
        for name in ("nbf", "iat")
        for value in (None, "0", True, -5, 10**30, [0])
    ),
    Bad("no sub", hs256(without("sub")), "the token has no subject"),
    Bad("empty sub", hs256({**CLAIMS, "sub": ""}), "the token has no subject"),
    *(
        Bad(f"sub {value!r}", hs256({**CLAIMS, "sub": value}))
        for value in (None, 1, True, ["ann"], "a\nb", "a\0b", "\ud800", "\u202eann")
    ),
    *(
        Bad(f"scope {value!r}", hs256({**CLAIMS, "scope": value}))
        for value in (None, 1, {"a": 1}, ["a", 1])
    ),
    Bad("jti is a number", hs256({**CLAIMS, "jti": 7})),
    Bad("iss is a list", hs256({**CLAIMS, "iss": ["us"]})),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_bad_tokens_are_refused_with_a_reason_that_is_safe_to_show(case: Bad) -> None:
    rsa = Published(VerificationKey("RS256", RSA, kid="rsa"))
    check = verifier(HmacSecrets(SECRET), rsa)
    with pytest.raises(Unauthorized) as caught:
        check.verify(case.token)
    assert caught.value.message == case.why
    assert caught.value.code is Code.UNAUTHENTICATED
    # RFC 6750, section 3: what an error_description may hold.
    assert re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]+", caught.value.message)
    # A second time, so that nothing was cached by mistake.
    assert refusal(check, case.token) == case.why


def test_the_valid_token_of_the_table_is_accepted() -> None:
    assert verifier().verify(GOOD)


@pytest.mark.parametrize("issuer", [None, "", "them", "US", "us "])
def test_a_foreign_issuer_is_refused(issuer: str | None) -> None:
    claims = dict(CLAIMS) if issuer is None else {**CLAIMS, "iss": issuer}
    assert refusal(verifier(issuer="us"), hs256(claims)) == "the token's issuer is not accepted"


@pytest.mark.parametrize("audience", [None, "", "orders", [], ["orders"], "records,orders"])
def test_a_token_for_another_audience_is_refused(audience: object) -> None:
    claims = dict(CLAIMS) if audience is None else {**CLAIMS, "aud": audience}
    why = refusal(verifier(audience="records"), hs256(claims))
    assert why == "the token is for another audience"


@pytest.mark.parametrize("audience", [1, [1], ["records", None], {"records": 1}])
def test_an_audience_of_a_wrong_type_is_refused(audience: object) -> None:
    why = refusal(verifier(audience="records"), hs256({**CLAIMS, "aud": audience}))
    assert why == "the token is malformed"


def test_without_keys_every_token_is_refused() -> None:
    assert refusal(JwtVerifier([], ManualClock(NOW)), GOOD) == UNKNOWN


def test_an_unknown_key_is_reported_to_the_sources_and_a_forged_token_is_not() -> None:
    source = Published(VerificationKey("RS256", RSA, kid="rsa"))
    check = verifier(source)
    refusal(check, hs256(header={"alg": "RS256", "kid": "rsa"}))
    refusal(check, hs256(header={"alg": "none", "kid": "new"}))
    assert source.misses == []
    refusal(check, hs256(header={"alg": "RS256", "kid": "new"}))
    assert source.misses == ["RS256"]


def test_a_token_that_is_issued_is_accepted() -> None:
    clock = ManualClock(NOW)
    token = issue_token(
        SECRET, subject="ann", scopes=["a", "b"], expiry=60, clock=clock, issuer="i", audience="x"
    )
    principal = verifier(clock=clock, issuer="i", audience="x").verify(token)
    assert (principal.subject, principal.scopes) == ("ann", frozenset("ab"))
    assert principal.expires_at == NOW + 60
    assert principal.token_id
