"""Fetching a JWKS document: from a file, or over HTTPS.

A `Fetch` is a plain blocking function, run in a thread: a document every few minutes needs no HTTP
client library. Invariant: never more than `MAX_BYTES` are read; only HTTPS is used (and plain HTTP
to this machine, for development), also after a redirect; and the location appears in no log and no
error, since its query can hold secrets.
"""

import time
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage, HTTPResponse
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Final
from urllib.error import HTTPError
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from paceline.errors import Code, Error

Fetch = Callable[[], bytes]
"""Returns the document, or raises `Error`. Blocks; called from a thread of its own."""

MAX_BYTES: Final = 1024 * 1024

_CHUNK = 64 * 1024
_NOT_ALLOWED = "a JWKS is fetched over https, or over http from this machine"


def jwks_fetcher(location: str, *, timeout: float = 5.0) -> Fetch:
    """A function that fetches ``location``: ``https://…``, ``file:///…`` or the path of a file.

    ``timeout`` (seconds) bounds each wait for the server, and the body as a whole. The function
    raises ``Error(UNAVAILABLE)``. Errors: ``ValueError`` for another kind of location.
    """
    url = urlsplit(location)
    if url.scheme == "file" and url.netloc in {"", "localhost"}:
        return lambda: _read_file(Path(unquote(url.path)))
    if not url.scheme and location:
        return lambda: _read_file(Path(location))
    if not _is_allowed(url) or not location.isprintable() or " " in location:
        raise ValueError(_NOT_ALLOWED)
    headers = {"Accept": "application/json", "Request-Timeout": f"{timeout:g}"}
    request = Request(location, headers=headers)  # noqa: S310 - checked
    return lambda: _read_url(request, timeout)


def _is_allowed(url: SplitResult) -> bool:
    if url.username is not None or not url.hostname:
        return False
    return url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _bounded(file.read(MAX_BYTES + 1))
    except OSError as exc:
        raise Error(Code.UNAVAILABLE, "the JWKS file cannot be read") from exc


def _read_url(request: Request, timeout: float) -> bytes:
    try:
        with _opener(request).open(request, timeout=timeout) as response:
            return _bounded(_read_body(response, time.monotonic() + timeout))
    except HTTPError as exc:
        exc.close()
        message = f"the JWKS server answered with status {exc.code}"
        raise Error(Code.UNAVAILABLE, message) from exc
    except (OSError, HTTPException, ValueError) as exc:
        raise Error(Code.UNAVAILABLE, "the JWKS cannot be fetched") from exc


def _read_body(response: HTTPResponse, deadline: float) -> bytes:
    """The body up to just over the bound; a slow one is aborted at ``deadline``."""
    body = bytearray()
    while len(body) <= MAX_BYTES and (chunk := response.read1(_CHUNK)):
        body += chunk
        if time.monotonic() > deadline:
            raise TimeoutError("the body took too long")
    return bytes(body)


def _bounded(document: bytes) -> bytes:
    if len(document) > MAX_BYTES:
        raise Error(Code.UNAVAILABLE, f"the JWKS is larger than {MAX_BYTES} bytes")
    return document


def _opener(request: Request) -> OpenerDirector:
    """Only the handlers that are needed: urllib's usual opener also knows ftp, file and data."""
    opener = OpenerDirector()
    handlers = [
        HTTPHandler(),
        HTTPSHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        _CheckedRedirects(),
    ]
    for handler in handlers:
        opener.add_handler(handler)
    if request.type == "https":
        # A proxy from the environment is for other machines.
        opener.add_handler(ProxyHandler())
    return opener


class _CheckedRedirects(HTTPRedirectHandler):
    """Follows a redirect only to a location that `jwks_fetcher` accepts, and never out of HTTPS."""

    def redirect_request(  # noqa: PLR0917 - the signature is urllib's
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """The request to follow with. Errors: ``ValueError`` when it must not be followed."""
        url = urlsplit(newurl)
        if not _is_allowed(url) or url.scheme != req.type:
            fp.close()
            raise ValueError("a redirect to a location that is not allowed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
