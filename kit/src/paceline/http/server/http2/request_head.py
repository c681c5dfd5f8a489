"""The head of a request over HTTP/2 (RFC 9113 §8)."""

from paceline.http.asgi import Headers

_PSEUDO = (b":method", b":path", b":scheme", b":authority")
_CONNECTION = (
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
)


class MalformedRequest(Exception):
    """A stream error PROTOCOL_ERROR."""


class RequestHead:
    """A valid head."""

    __slots__ = ("authority", "content_length", "headers", "method", "scheme", "target")

    def __init__(  # noqa: PLR0917
        self,
        method: str,
        target: bytes,
        scheme: str,
        authority: bytes,
        headers: Headers,
        content_length: int | None,
    ) -> None:
        self.method = method
        self.target = target
        self.scheme = scheme
        self.authority = authority
        self.headers = headers
        self.content_length = content_length


def read_head(fields: Headers) -> RequestHead:
    """The head that these fields make. Errors: MalformedRequest."""
    pseudo: dict[bytes, bytes] = {}
    headers: Headers = []
    length: int | None = None
    for name, value in fields:
        if name[:1] == b":":
            if headers or name in pseudo or name not in _PSEUDO:
                raise MalformedRequest(repr(name))
            pseudo[name] = value
            continue
        if name != name.lower() or name in _CONNECTION or (name == b"te" and value != b"trailers"):
            raise MalformedRequest(repr(name))
        if name == b"content-length":
            length = int(value)
        headers.append((name, value))
    try:
        return RequestHead(
            pseudo[b":method"].decode("ascii"),
            pseudo[b":path"] or _malformed(),
            pseudo[b":scheme"].decode("ascii"),
            pseudo.get(b":authority", b""),
            headers,
            length,
        )
    except KeyError as exc:
        raise MalformedRequest(str(exc)) from exc


def _malformed() -> bytes:
    raise MalformedRequest("empty path")


def check_trailers(fields: Headers) -> None:
    """Errors: MalformedRequest."""
    for name, _ in fields:
        if name[:1] == b":" or name != name.lower():
            raise MalformedRequest(repr(name))
