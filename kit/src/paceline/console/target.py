"""What ``bench`` sends: a URL and curl's options, made into bytes once, before the clock starts.

Invariant: nothing that is given can break out of its place in the request; a line break in a
header is an error, not a second header. Every error says what to write instead. Used by ``load``.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from paceline.errors import ValidationError

_PORTS: Final = {"http": 80, "https": 443}
_OURS: Final = {"content-length", "transfer-encoding", "connection"}
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect and the whole request."""

    url: str
    host: str
    port: int
    tls: bool
    method: str
    request: bytes

    @property
    def local(self) -> bool:
        """Whether it is this very machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def tls_context(self, *, insecure: bool) -> ssl.SSLContext | None:
        """TLS for its connections, None without; ``insecure`` believes any certificate."""
        if not self.tls:
            return None
        context = ssl.create_default_context()
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def read_target(
    url: str, *, method: str | None = None, headers: Sequence[str] = (), data: bytes | None = None
) -> Target:
    """Make the target. ``headers`` are "Name: value"; ``data`` makes it a POST of JSON.

    Errors: `ValidationError` with what was expected.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError) as exc:
        raise ValidationError("URL", "expected http://host:port/path or https://…") from exc
    if not parts.hostname or parts.username is not None or not url.isprintable() or " " in url:
        raise ValidationError("URL", "expected http://host:port/path, without user or spaces")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    verb = (method or ("GET" if data is None else "POST")).upper()
    if not verb.isascii() or not verb.isalpha():
        raise ValidationError("--method", "expected a word such as GET")
    if not path.isascii():
        raise ValidationError("URL", "expected only ASCII; write others as %XX")
    fields = {"host": f"Host: {parts.netloc}", "accept": "Accept: */*"}
    if data is not None:
        fields["content-type"] = "Content-Type: application/json"
    fields |= dict(map(_field, headers))
    if data is not None:
        fields["content-length"] = f"Content-Length: {len(data)}"
    head = "\r\n".join([f"{verb} {path} HTTP/1.1", *fields.values(), "", ""])
    request = head.encode("latin-1") + (data or b"")
    return Target(url, parts.hostname, port, parts.scheme == "https", verb, request)


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    right = colon and name and all(char.isalnum() or char in _TOKEN for char in name)
    if not right or not (name + value).isprintable() or not name.isascii():
        raise ValidationError("--header", 'expected "Name: value"')
    if name.lower() in _OURS:
        raise ValidationError("--header", f"{name} is set by what is sent")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError as exc:
        raise ValidationError(
            "--header", f"the value of {name} has characters HTTP has not"
        ) from exc
    return name.lower(), f"{name}: {value.strip()}"
