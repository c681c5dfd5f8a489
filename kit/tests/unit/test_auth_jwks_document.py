"""Which keys of a JWKS are taken, and why the others are not."""

import json
import warnings
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from paceline.auth.jwks_document import MAX_KEYS, parse_jwks
from paceline.auth.keys import ALGORITHMS, KeySet

Jwk = dict[str, object]


def public(key: RSAKey | ECKey | OKPKey, **members: object) -> Jwk:
    return {**key.as_dict(private=False), **members}


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    WEAK = public(RSAKey.generate_key(1024), kid="weak")
RSA_KEY = RSAKey.generate_key(2048)
RSA = public(RSA_KEY, kid="rsa")
EC = public(ECKey.generate_key("P-256"), kid="ec")
ED_PRIVATE = OKPKey.generate_key("Ed25519")
ED = public(ED_PRIVATE, kid="ed")


def document(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


def test_each_key_gets_the_one_algorithm_of_its_type() -> None:
    keys, skipped = parse_jwks(document(RSA, EC, {**ED, "use": "sig", "alg": "EdDSA"}))
    assert [(key.kid, key.algorithm) for key in keys] == [
        ("rsa", "RS256"),
        ("ec", "ES256"),
        ("ed", "EdDSA"),
    ]
    assert skipped == []


@dataclass(frozen=True)
class Signed:
    algorithm: str
    key: RSAKey | ECKey | OKPKey = field(repr=False)
    stated: str | None = None


P384, P521 = ECKey.generate_key("P-384"), ECKey.generate_key("P-521")
SIGNED = (
    *(Signed(name, RSA_KEY, name) for name in ("RS256", "RS384", "RS512")),
    *(Signed(name, RSA_KEY, name) for name in ("PS256", "PS384", "PS512")),
    Signed("RS256", RSA_KEY),
    Signed("ES384", P384),
    Signed("ES384", P384, "ES384"),
    Signed("ES512", P521),
    Signed("EdDSA", ED_PRIVATE, "Ed25519"),
    Signed("Ed25519", ED_PRIVATE, "Ed25519"),
    Signed("Ed25519", ED_PRIVATE),
)


@pytest.mark.parametrize("case", SIGNED, ids=lambda case: f"{case.algorithm} by {case.stated}")
def test_a_signature_of_each_supported_algorithm_is_verified(case: Signed) -> None:
    stated = {} if case.stated is None else {"alg": case.stated}
    keys, skipped = parse_jwks(document(public(case.key, **stated)))
    assert skipped == []
    (key,) = KeySet(keys).candidates(case.algorithm, None)
    signature = ALGORITHMS[case.algorithm].sign(b"signed", case.key)
    assert key.verify(b"signed", signature)
    assert not key.verify(b"other", signature)


def test_padded_numbers_are_accepted() -> None:
    padded = {**RSA, "n": f"{RSA['n']}==", "e": "AQAB"}
    keys, _ = parse_jwks(document(padded, {**EC, "x": f"{EC['x']}=", "y": f"{EC['y']}="}))
    assert [key.algorithm for key in keys] == ["RS256", "ES256"]


def test_one_kid_may_name_a_key_of_each_algorithm() -> None:
    keys, skipped = parse_jwks(document({**RSA, "kid": "a"}, {**EC, "kid": "a"}))
    assert ([key.algorithm for key in keys], skipped) == (["RS256", "ES256"], [])


def test_a_certificate_beside_the_numbers_changes_nothing() -> None:
    keys, _ = parse_jwks(document({**RSA, "x5c": ["MIIB"], "x5t": "AA"}))
    assert [key.algorithm for key in keys] == ["RS256"]


@dataclass(frozen=True)
class Skipped:
    name: str
    jwk: object = field(repr=False)
    why: str


@pytest.mark.parametrize(
    "case",
    [
        Skipped("weak RSA", WEAK, "1024 bits"),
        Skipped("RSA padded with zeros", {**RSA, "n": "A" * 342}, "0 bits"),
        Skipped("RSA exponent of one", {**RSA, "e": "AQ"}, "not a valid key"),
        Skipped("RSA without a modulus", {"kty": "RSA", "e": "AQAB"}, "0 bits"),
        Skipped("RSA modulus not base64url", {**RSA, "n": "+" * 400}, "base64url"),
        Skipped("huge RSA", {**RSA, "n": "_" * 2_000}, "12000 bits"),
        Skipped("private RSA", RSA_KEY.as_dict(private=True), "private key"),
        Skipped("private EC", ECKey.generate_key("P-256").as_dict(private=True), "private key"),
        Skipped("symmetric", OctKey.generate_key(256).as_dict(private=True), "symmetric"),
        Skipped("for encryption", {**EC, "use": "enc"}, "not for signatures"),
        Skipped("for wrapping", {**EC, "key_ops": ["wrapKey"]}, "not for signatures"),
        Skipped("another curve", public(ECKey.generate_key("secp256k1")), "not supported"),
        Skipped("only a certificate", {"kty": "RSA", "x5c": ["MIIB"]}, "only a certificate (x5c)"),
        Skipped("X25519", public(OKPKey.generate_key("X25519")), "not supported"),
        Skipped("Ed448", public(OKPKey.generate_key("Ed448")), "not supported"),
        Skipped("unknown type", {"kty": "AKP", "pub": "AA"}, "not supported"),
        Skipped("another algorithm", {**RSA, "alg": "RS1"}, "only RS256, RS384, RS512, PS256"),
        Skipped("an algorithm of another curve", {**EC, "alg": "ES512"}, "only ES256"),
        Skipped("an exponent beyond numbers", {**RSA, "e": "_" * 2_000}, "not a valid key"),
        Skipped("HS256 on a public key", {**RSA, "alg": "HS256"}, "only RS256"),
        Skipped("a point off the curve", {**EC, "x": EC["y"]}, "not a valid key"),
        Skipped("Ed25519 too short", {**ED, "x": "AAAA"}, "not a valid key"),
        Skipped("no type", {"kid": "x"}, "not a JWK"),
        Skipped("kid is a number", {**RSA, "kid": 1}, "not a JWK"),
        Skipped("not an object", "key", "not a JWK"),
        Skipped("duplicate kid", {**EC, "kid": "good"}, "its kid occurs before"),
        Skipped("unknown use", {**EC, "use": "tls"}, 'its use is not "sig"'),
    ],
    ids=lambda case: case.name,
)
def test_an_unusable_key_is_skipped_with_a_reason_and_the_others_are_used(case: Skipped) -> None:
    keys, skipped = parse_jwks(document({**EC, "kid": "good"}, case.jwk))
    assert [key.kid for key in keys] == ["good"]
    assert len(skipped) == 1
    assert skipped[0].startswith("key 1: ")
    assert case.why in skipped[0]


def test_keys_beyond_the_bound_are_skipped() -> None:
    keys, skipped = parse_jwks(document(*({**EC, "kid": str(i)} for i in range(MAX_KEYS + 1))))
    assert len(keys) == MAX_KEYS
    assert len(skipped) == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[{"kty":"oct","k":"AAAA"}]}',
        b'{"keys":[1,2]}',
        b'{"keys":' + b"[" * 100_000,
        b"\xff",
        b"<html>",
        document(*([EC] * 65)),
    ],
)
def test_a_document_without_usable_keys_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError, match="JWKS"):
        parse_jwks(text)


values = st.none() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5))
members = ["kty", "crv", "n", "e", "x", "y", "alg", "use", "key_ops", "kid", "d", "k"]


@given(st.sampled_from([RSA, EC, ED]), st.dictionaries(st.sampled_from(members), values))
def test_a_key_of_any_shape_is_used_or_skipped(good: Jwk, changed: Jwk) -> None:
    keys, skipped = parse_jwks(document({**EC, "kid": "sure"}, {**good, **changed}))
    assert len(keys) + len(skipped) == 2
