"""The target of a request, over every version of HTTP: which forms there are (RFC 9112 §3.2).

Invariant: what is served has a path that begins with a slash, or is the target of ``OPTIONS *``.
"""

from http import HTTPStatus
from typing import Final

from paceline.http.server.refusals import RequestRejected

_SCHEMES: Final = (b"http", b"https")


def split_target(method: str, target: bytes) -> tuple[bytes, bytes, bytes]:
    """Path, query and authority (empty if not given) of a target. Errors: RequestRejected."""
    if method == "CONNECT":
        raise RequestRejected(HTTPStatus.NOT_IMPLEMENTED, "CONNECT is for proxies")
    if b"#" in target:
        raise RequestRejected(HTTPStatus.BAD_REQUEST, "a request target has no fragment")
    if target[:1] == b"/":
        path, _, query = target.partition(b"?")
        return path, query, b""
    if target == b"*" and method == "OPTIONS":
        return target, b"", b""
    scheme, _, rest = target.partition(b"://")
    rest, _, query = rest.partition(b"?")
    authority, slash, path = rest.partition(b"/")
    if scheme.lower() not in _SCHEMES or not authority or b"@" in authority:
        raise RequestRejected(HTTPStatus.BAD_REQUEST, "the request target is not valid")
    return slash + path or b"/", query, authority
