"""Where a JWKS may be read from; the network itself is in the integration tests."""

from pathlib import Path

import pytest

from paceline.auth import jwks_fetcher
from paceline.auth.jwks_fetch import MAX_BYTES
from paceline.errors import Code, Error


@pytest.mark.parametrize(
    "location",
    [
        "",
        "http://issuer.test/jwks",
        "http://127.0.0.1.issuer.test/jwks",
        "http://localhost.issuer.test/jwks",
        "http://127.0.0.1@issuer.test/jwks",
        "https://user:password@issuer.test/jwks",
        "https://",
        "https:///jwks",
        "ftp://issuer.test/jwks",
        "data:application/json,{}",
        "file://elsewhere/jwks.json",
        "HTTP://issuer.test/jwks",
        "https://issuer.test/the keys",
        "https://issuer.test/\u0085jwks",
    ],
)
def test_a_location_of_another_kind_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match="https"):
        jwks_fetcher(location)


@pytest.mark.parametrize(
    "location",
    [
        "https://issuer.test/jwks",
        "HTTPS://issuer.test/jwks",
        "http://localhost:1/jwks",
        "http://127.0.0.2/jwks",
        "http://[::1]:8080/jwks",
    ],
)
def test_https_and_this_machine_are_accepted_without_a_connection(location: str) -> None:
    jwks_fetcher(location)


def test_a_file_is_read_by_path_and_by_url(tmp_path: Path) -> None:
    path = tmp_path / "the keys.json"
    path.write_bytes(b"{}")
    assert jwks_fetcher(str(path))() == b"{}"
    assert jwks_fetcher(path.as_uri())() == b"{}"


def test_a_file_that_is_missing_or_too_large_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    fetch = jwks_fetcher(str(path))
    with pytest.raises(Error, match="cannot be read") as caught:
        fetch()
    assert caught.value.code is Code.UNAVAILABLE
    path.write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(Error, match="larger than"):
        fetch()
