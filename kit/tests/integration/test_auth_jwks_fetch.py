"""Fetching a JWKS over real HTTP: status, size, redirects, slow servers, and a whole refresh."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from joserfc.jwk import ECKey

from paceline.auth import JwksSource, jwks_fetcher
from paceline.auth.jwks_fetch import MAX_BYTES
from paceline.errors import Code, Error
from paceline.testing import RecordingLog
from paceline.testing.clock import ManualClock

pytestmark = pytest.mark.integration

DOCUMENT = json.dumps({"keys": [ECKey.generate_key("P-256").as_dict(private=False)]}).encode()
DONE = Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        headers, body = ROUTES.get(self.path, ({}, None))
        self.send_response(404 if body is None else 302 if "Location" in headers else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):  # the client may have closed the connection
            if self.path == "/drip":
                while not DONE.wait(0.02):
                    self.wfile.write(b" ")
            elif self.path == "/silence":
                DONE.wait(10)
            elif body is not None:
                self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """Log nothing."""


ROUTES: dict[str, tuple[dict[str, str], bytes | None]] = {
    "/jwks": ({}, DOCUMENT),
    "/huge": ({}, b" " * (MAX_BYTES + 1)),
    "/cut": ({"Content-Length": str(len(DOCUMENT))}, DOCUMENT[:-20]),
    "/moved": ({"Location": "/jwks"}, b""),
    "/loop": ({"Location": "/loop"}, b""),
    "/to-file": ({"Location": "file:///etc/hostname"}, b""),
    "/to-ftp": ({"Location": "ftp://127.0.0.1/jwks"}, b""),
    "/to-plain": ({"Location": "http://issuer.test/jwks"}, b""),
    "/to-https": ({"Location": "https://127.0.0.1/jwks"}, b""),
    "/drip": ({}, b""),
    "/silence": ({}, b""),
}


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    DONE.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    DONE.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("path", ["/jwks", "/moved"])
def test_the_document_is_fetched(origin: str, path: str) -> None:
    assert jwks_fetcher(origin + path)() == DOCUMENT


@pytest.mark.parametrize(
    "path",
    ["/gone", "/huge", "/loop", "/to-file"],
)
def test_any_other_response_is_one_error_without_the_url(origin: str, path: str) -> None:
    with pytest.raises(Error) as caught:
        jwks_fetcher(origin + path)()
    assert caught.value.code is Code.UNAVAILABLE
    assert origin not in caught.value.message


@pytest.mark.parametrize("path", ["/to-ftp", "/to-plain", "/to-https"])
def test_a_redirect_to_another_scheme_or_host_in_the_clear_is_not_followed(
    origin: str, path: str
) -> None:
    with pytest.raises(Error) as caught:
        jwks_fetcher(origin + path)()
    assert str(caught.value.__cause__) == "a redirect to a location that is not allowed"


@pytest.mark.parametrize("path", ["/drip", "/silence"])
def test_a_slow_server_times_out(origin: str, path: str) -> None:
    before = time.monotonic()
    with pytest.raises(Error, match="cannot be fetched"):
        jwks_fetcher(origin + path, timeout=0.2)()
    assert time.monotonic() - before < 5


def test_a_closed_port_is_an_error() -> None:
    with pytest.raises(Error, match="cannot be fetched"):
        jwks_fetcher("http://127.0.0.1:1/jwks")()


async def test_a_source_loads_its_keys_over_http(origin: str) -> None:
    source = JwksSource(jwks_fetcher(f"{origin}/jwks"), RecordingLog(), ManualClock())
    await source.start()
    await source.stop()
    assert len(source.keys) == 1


async def test_an_incomplete_document_is_an_error(origin: str) -> None:
    source = JwksSource(jwks_fetcher(f"{origin}/cut"), RecordingLog(), ManualClock())
    with pytest.raises(Error, match="cannot be loaded"):
        await source.start()
