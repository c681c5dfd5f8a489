"""What is read of a certificate is what the library for certificates reads of it."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.http.server import read_certificate
from paceline.testing import CertificateAuthority


def der_of(file: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(file.read_text())


def test_names_are_hosts_addresses_and_uris(tmp_path: Path) -> None:
    hosts = ("a.example", "*.b.example", "192.0.2.1", "2001:db8::1", "spiffe://mesh/ns/app")
    files = CertificateAuthority(tmp_path).issue("server", hosts=hosts)
    assert read_certificate(der_of(files.certificate)).names == hosts


def test_a_certificate_without_names_has_none(tmp_path: Path) -> None:
    files = CertificateAuthority(tmp_path).issue("server", hosts=())
    assert read_certificate(der_of(files.certificate)).names == ()


@pytest.mark.parametrize("years", [1, 23, 30, 90], ids=str)
def test_the_end_is_read_in_both_notations_of_time(years: int, tmp_path: Path) -> None:
    """Years up to 2049 are written with two digits."""
    files = CertificateAuthority(tmp_path).issue("server", days=365 * years)
    found = read_certificate(der_of(files.certificate))
    expected = datetime.now(UTC) + timedelta(days=365 * years)
    assert abs(found.not_after - expected) < timedelta(minutes=1)
    assert found.not_before < datetime.now(UTC)


def test_issuer_and_subject_can_be_compared(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    own = read_certificate(der_of(authority.file))
    leaf = read_certificate(der_of(authority.issue("server").certificate))
    assert leaf.issuer == own.subject == own.issuer != leaf.subject


def test_it_says_whether_its_issuer_can_be_fetched(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    plain, signed = (
        authority.issue("a"),
        authority.issue("b", issuer_url="http://ca.example/i.crt"),
    )
    assert not read_certificate(der_of(plain.certificate)).names_issuer
    assert read_certificate(der_of(signed.certificate)).names_issuer


@given(st.data())
def test_other_bytes_are_no_certificate(data: st.DataObject) -> None:
    der = WHOLE[: data.draw(st.integers(0, len(WHOLE) - 1))]
    with pytest.raises(ValueError, match=r"."):
        read_certificate(der)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_certificate(der)


WHOLE = ssl.PEM_cert_to_DER_cert("""-----BEGIN CERTIFICATE-----
MIIBRTCB66ADAgECAhR7/Ye+gyTvG+f1layozo9I2UoErjAKBggqhkjOPQQDAjAU
MRIwEAYDVQQDDAlhdXRob3JpdHkwHhcNMjYxMTI4MDY1NDQxWhcNMzYxMTI1MDY1
OTQxWjARMQ8wDQYDVQQDDAZzZXJ2ZXIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATTbamofTQCUf3ZeQXyXFGKDSzzZ6Q8QO3iiTPej4Syk8gIssQH1MCYKJCi5veH
BQLLAAAvjjmXgQ75mRnRAcsNox4wHDAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8A
AAEwCgYIKoZIzj0EAwIDSQAwRgIhALYv7fElt0ruvs50TmAwi1YLS+0wFcaJiL3J
ykkenFqpAiEAoUZiJTGhcJQaJ6ct4pKfdEJDOwwvtrhGsN6fwZUNPps=
-----END CERTIFICATE-----
""")
