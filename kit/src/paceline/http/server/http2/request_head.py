"""The head of a request over HTTP/2, and its trailers: what RFC 9113 §8 lets a client send.

Invariant: what leaves here has one meaning in HTTP/1.1, too: names in lower case, no control
characters, one length, one host. What two parsers could read differently is an attack (request
smuggling), so it is refused rather than repaired.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from paceline.http.asgi import Headers
from paceline.http.server.response_fields import CONNECTION_FIELDS

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_AUTHORITY: Final = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]+")  # RFC 3986, without userinfo
_PSEUDO: Final = {
    b":method": re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"),
    b":scheme": re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*"),
    b":path": re.compile(rb"/[!-~]*|\*"),
    b":authority": _AUTHORITY,
}
_CONTROLS: Final = bytes([byte for byte in range(0x20) if byte != ord("\t")]) + b"\x7f"
_ONCE: Final = frozenset((b"content-length", b"cookie", b"host"))
_LENGTH_DIGITS: Final = 18
_PSEUDO_OF_CONNECT: Final = 2
_SHORT: Final = 96  # bytes of a field whose check is remembered
_ORDINARY, _FROM_PSEUDO, _SINGLE = range(3)


class MalformedRequest(Exception):
    """A request that has no meaning: a stream error PROTOCOL_ERROR (RFC 9113 §8.1.1)."""


@dataclass(slots=True)
class RequestHead:
    """The head of a request; shared between requests, so not to be changed.

    ``target`` is ``:path`` as it came, with CONNECT the authority; ``authority`` is empty if there
    was none. ``headers``: the regular fields; ``host`` is among them only if there is no authority.
    ``prepared``: what the `StreamApp` has made of it for all requests with this head.
    """

    method: str
    target: bytes
    scheme: str
    authority: bytes
    headers: Headers
    content_length: int | None
    prepared: object = None


class PartialHead:
    """A head of which not all fields have been read; what many requests share is read once."""

    __slots__ = ("_headers", "_pseudo", "_single")

    def __init__(self) -> None:
        self._pseudo: dict[bytes, bytes] = {}
        self._single: dict[bytes, bytes] = {}
        self._headers: Headers = []

    @property
    def is_plain(self) -> bool:
        """Whether no field was one that may come once, such as a cookie, which is joined."""
        return not self._single

    def copy(self) -> "PartialHead":
        """The same, to go on with."""
        made = PartialHead()
        made._pseudo = self._pseudo.copy()
        made._single = self._single.copy()
        made._headers = self._headers.copy()
        return made

    def add(self, fields: Headers) -> None:
        """The next fields. Errors: MalformedRequest."""
        pseudo, single, headers = self._pseudo, self._single, self._headers
        for field in fields:
            name, value = field
            kind = _checked(field) if len(name) + len(value) <= _SHORT else _check(field)
            if kind == _ORDINARY:
                headers.append(field)
            elif kind == _FROM_PSEUDO:
                if headers or single or name in pseudo:
                    raise MalformedRequest("a pseudo-field is repeated, or not at the start")
                pseudo[name] = value
            elif name not in single:
                single[name] = value
            elif name == b"cookie":
                single[name] = b"; ".join(filter(None, (single[name], value)))
            else:
                raise MalformedRequest("content-length or host is repeated")

    def finish(self) -> RequestHead:
        """The head (RFC 9113 §8.2, §8.3). Errors: MalformedRequest."""
        pseudo, single, headers = self._pseudo, self._single, self._headers
        authority = pseudo.get(b":authority", b"")
        length = _finish(single, headers, authority) if single else None
        if not authority and b"host" not in single:
            raise MalformedRequest("neither :authority nor host")
        return _request(pseudo, headers, length)


def read_head(fields: Headers) -> RequestHead:
    """The head that these fields make (RFC 9113 §8.2, §8.3). Errors: MalformedRequest.

    Example: ``read_head(decoder.decode(block)).method``.
    """
    partial = PartialHead()
    partial.add(fields)
    return partial.finish()


def check_trailers(fields: Headers) -> None:
    """Refuse trailers that are no regular fields (RFC 9113 §8.1). Errors: MalformedRequest."""
    for field in fields:
        if _check(field) == _FROM_PSEUDO:
            raise MalformedRequest("a pseudo-field among the trailers")


def _request(pseudo: dict[bytes, bytes], headers: Headers, length: int | None) -> RequestHead:
    authority = pseudo.get(b":authority", b"")
    if pseudo.get(b":method") == b"CONNECT":
        if len(pseudo) != _PSEUDO_OF_CONNECT or not authority:
            raise MalformedRequest("CONNECT has an authority and no more")
        return RequestHead("CONNECT", authority, "", authority, headers, length)
    try:
        method, scheme, target = pseudo[b":method"], pseudo[b":scheme"], pseudo[b":path"]
    except KeyError:
        raise MalformedRequest("a pseudo-field is missing") from None
    if target == b"*" and method != b"OPTIONS":
        raise MalformedRequest("the path * is for OPTIONS")
    return RequestHead(
        method.decode("ascii"), target, scheme.decode("ascii"), authority, headers, length
    )


def _finish(single: dict[bytes, bytes], headers: Headers, authority: bytes) -> int | None:
    """Add the fields that may come once only to the others; the content length."""
    host = single.get(b"host")
    if host is not None and authority:
        if host.lower() != authority.lower():
            raise MalformedRequest("host is not the authority")
        del single[b"host"]
    headers.extend(single.items())
    length = single.get(b"content-length")
    return None if length is None else int(length)


def _check(field: tuple[bytes, bytes]) -> int:
    """Refuse what is wrong with a field by itself; its kind. Errors: MalformedRequest."""
    name, value = field
    pattern = _PSEUDO.get(name)
    if pattern is not None:
        if pattern.fullmatch(value) is None:
            raise MalformedRequest("the value of a pseudo-field is not valid")
        return _FROM_PSEUDO
    if _NAME.fullmatch(name) is None:
        raise MalformedRequest("a field name is not valid")
    if name in CONNECTION_FIELDS or (name == b"te" and value.lower() != b"trailers"):
        raise MalformedRequest("a field of the connection")
    if len(value.translate(None, _CONTROLS)) != len(value) or value.strip(b" \t") != value:
        raise MalformedRequest("a field value is not valid")
    if name not in _ONCE:
        return _ORDINARY
    if name == b"content-length" and not (value.isdigit() and len(value) <= _LENGTH_DIGITS):
        raise MalformedRequest("content-length is not a number")
    if name == b"host" and _AUTHORITY.fullmatch(value) is None:
        raise MalformedRequest("host is not valid")
    return _SINGLE


_checked: Final = lru_cache(maxsize=2048)(_check)
