"""Any input gives a principal that was signed for, or a refusal."""

import json
import string
from base64 import urlsafe_b64encode
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from paceline.auth import HmacSecrets, JwtVerifier
from paceline.auth.keys import ALGORITHMS, KeySet, VerificationKey
from paceline.errors import Unauthorized
from paceline.testing.clock import ManualClock

SECRET = b"an-hmac-key-for-these-tests-only-0"
NOW = 1_700_000_000
CLAIMS: Mapping[str, object] = {"sub": "ann", "exp": NOW + 60}
KEYS: dict[str, OctKey | RSAKey | ECKey | OKPKey] = {
    "HS256": OctKey.import_key(SECRET),
    "RS256": RSAKey.generate_key(2048),
    "ES256": ECKey.generate_key("P-256"),
    "EdDSA": OKPKey.generate_key("Ed25519"),
}


class Published:
    """A key source with every key of the table, its algorithm's name as the key id."""

    keys = KeySet(VerificationKey(name, key, kid=name) for name, key in KEYS.items())

    def on_unknown_key(self, algorithm: str) -> None:
        """Nothing: it has no other keys."""


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(header: Mapping[str, object], payload: bytes, algorithm: str = "HS256") -> str:
    signed = f"{b64(json.dumps(header).encode())}.{b64(payload)}"
    return f"{signed}.{b64(ALGORITHMS[algorithm].sign(signed.encode(), KEYS[algorithm]))}"


def verifier(audience: str | None = None) -> JwtVerifier:
    return JwtVerifier([HmacSecrets(SECRET), Published()], ManualClock(NOW), audience=audience)


def refused(check: JwtVerifier, token: str) -> bool:
    try:
        check.verify(token)
    except Unauthorized:
        return True
    return False


CHECK = verifier()
PAYLOAD = json.dumps(CLAIMS).encode()
TOKENS = [sign({"alg": name, "kid": name}, PAYLOAD, name) for name in KEYS]
BASE64URL = string.ascii_letters + string.digits + "-_"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
@example("a.b.c")
def test_no_random_text_is_accepted(token: str) -> None:
    assert refused(CHECK, token)


@given(st.lists(st.binary(max_size=60), min_size=3, max_size=3))
def test_no_random_parts_are_accepted(parts: list[bytes]) -> None:
    assert refused(CHECK, ".".join(b64(part) for part in parts))


@given(st.binary())
def test_a_random_payload_with_a_valid_signature_is_refused(payload: bytes) -> None:
    assert refused(CHECK, sign({"alg": "HS256"}, payload))


NAMES = ["sub", "exp", "nbf", "iat", "iss", "aud", "jti", "scope", "scp"]


@given(st.dictionaries(st.sampled_from(NAMES), json_values))
def test_claims_of_any_shape_give_a_principal_or_a_refusal(claims: dict[str, object]) -> None:
    try:
        principal = verifier(audience="x").verify(
            sign({"alg": "HS256"}, json.dumps({**CLAIMS, **claims}).encode())
        )
    except Unauthorized:
        return
    assert principal.subject
    assert principal.expires_at > NOW - 30
    assert all(isinstance(scope, str) for scope in principal.scopes)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "cty", "jku", "x"]), json_values))
def test_headers_of_any_shape_give_a_principal_or_a_refusal(header: dict[str, object]) -> None:
    try:
        CHECK.verify(sign({"alg": "HS256", **header}, PAYLOAD))
    except Unauthorized:
        return
    assert header.get("alg", "HS256") == "HS256"


@given(st.sampled_from(TOKENS), st.data())
def test_a_token_with_any_one_character_changed_is_refused(token: str, data: st.DataObject) -> None:
    check = verifier()
    check.verify(token)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from(BASE64URL + ".=+ ").filter(lambda new: new != token[place]))
    assert refused(check, token[:place] + letter + token[place + 1 :])


@pytest.mark.parametrize("token", TOKENS, ids=list(KEYS))
def test_each_part_has_one_spelling_only(token: str) -> None:
    """The last character of a part holds unused bits: every other value of it is refused."""
    check = verifier()
    check.verify(token)
    ends = [index - 1 for index, letter in enumerate(token + ".") if letter == "."]
    for end in ends:
        for letter in set(BASE64URL) - {token[end]}:
            assert refused(check, token[:end] + letter + token[end + 1 :])
