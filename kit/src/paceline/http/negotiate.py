"""Content negotiation for JSON: which ``Accept`` and ``Content-Type`` values are served.

An answer has one media type, JSON or events, so ``Accept`` only has to allow that one (RFC 9110,
section 12.5.1), and a body must be declared as JSON. The usual values are recognised without
parsing. Errors are always sent as problems, whatever ``Accept`` says.
"""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final

from paceline.http.asgi import Scope, header_list, headers_of
from paceline.http.problem import HttpError

JSON: Final = "application/json"
_ALWAYS: Final = frozenset({None, b"*/*", b"application/json"})
_CONTENT_TYPES: Final = frozenset({b"application/json", b"application/json; charset=utf-8"})


def check_accept(scope: Scope, media_type: str = JSON) -> None:
    """Refuse a client that does not accept ``media_type``. Errors: HttpError(406)."""
    accept = headers_of(scope).get(b"accept")
    if accept in _ALWAYS and (media_type is JSON or accept != b"application/json"):
        return
    accepted = b",".join(header_list(scope, b"accept")).decode("latin-1")
    if not accepts(accepted, media_type):
        message = f"this resource is available as {media_type} only"
        raise HttpError(HTTPStatus.NOT_ACCEPTABLE, message)


def accepts(accept: str, media_type: str) -> bool:
    """Whether an ``Accept`` value allows ``media_type``: the most specific range decides."""
    weights = {media_type: 3, media_type.partition("/")[0] + "/*": 2, "*/*": 1}
    best, allowed = 0, not accept.strip()
    for media_range, quality in media_ranges(accept):
        weight = weights.get(media_range, 0)
        if weight > best:
            best, allowed = weight, quality is None or quality > 0
    return allowed


def media_ranges(accept: str) -> Iterator[tuple[str, float | None]]:
    """The ranges of an ``Accept`` value, with its quality: 1 by default, None for no number."""
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        yield media_range, _quality(parameters)


def _quality(parameters: Sequence[str]) -> float | None:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return None
    return 1.0


def check_content_type(scope: Scope) -> None:
    """Refuse a body that is not declared as plain UTF-8 JSON. Errors: HttpError(415)."""
    headers = headers_of(scope)
    declared = headers.get(b"content-type", b"")
    if declared not in _CONTENT_TYPES and not _is_json(declared.decode("latin-1")):
        raise HttpError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON: send Content-Type: application/json",
            headers=[(b"accept", b"application/json")],
        )
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise HttpError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "the body must not be compressed",
            headers=[(b"accept-encoding", b"identity")],
        )


def _is_json(content_type: str) -> bool:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [p.partition("=")[2].strip('"') for p in parameters if p.startswith("charset")]
    return media_type == "application/json" and charsets in ([], ["utf-8"], ["utf8"])
