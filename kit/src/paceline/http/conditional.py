"""Entity tags from versions, and what conditional requests say about them (RFC 9110, 8.8 and 13).

A resource with a version number has the strong tag ``"<version>"``. For a change,
`expected_versions` turns ``If-Match`` and ``If-None-Match: *`` into the versions that the caller
accepts: a tag that this service never issued matches nothing, so it ends in 412 and never in a lost
update. What is read is compared with its tag after it was read (`is_not_modified`), by routes that
are registered as conditional, so that their handlers need no parameters for it.

``If-Match`` compares strongly, ``If-None-Match`` weakly. A proxy that compresses makes tags weak;
then no change is possible with them, and the answer says so.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple, TypeAlias

import msgspec

from paceline.errors import StaleVersion
from paceline.http.binding import Parameter, ParameterLocation
from paceline.http.problem import FieldError, InvalidRequest

_TAGS: Final = (
    r'^(\*|(W/)?"[!#-~\u0080-\u00ff]*"( *, *(W/)?"[!#-~\u0080-\u00ff]*")*)$'  # RFC 9110, 8.8.3
)
IfMatch: TypeAlias = Annotated[
    str,
    msgspec.Meta(pattern=_TAGS, description="the entity tags of the versions that are meant, or *"),
]
"""The type of an ``If-Match`` parameter: ``Header[IfMatch | None]``."""
IfNoneMatch: TypeAlias = Annotated[
    str,
    msgspec.Meta(pattern=_TAGS, description="entity tags that are known: 304 if one is current"),
]
"""Of a request that reads, see `CONDITIONS`."""
IfNoneMatchAny: TypeAlias = Annotated[
    str,
    msgspec.Meta(pattern=r"^\*$", description="*: only if there is none, else 412"),
]
"""The same of a change, which takes no tags: ``Header[IfNoneMatchAny | None]``."""

CONDITIONS: Final = (
    Parameter("if_match", ParameterLocation.HEADER, IfMatch | None, None),
    Parameter("if_none_match", ParameterLocation.HEADER, IfNoneMatch | None, None),
)
"""What a conditional route takes beside the parameters of its handler."""

_TAG: Final = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
_WEAK: Final = (
    'If-Match has weak tags only (W/"…"), which match nothing; a proxy that compresses makes tags'
    " weak: send the tag without W/, or read again with Accept-Encoding: identity"
)


class _Tag(NamedTuple):
    weak: bool
    text: str


def entity_tag(version: int) -> bytes:
    """The ``ETag`` of a version."""
    return b'"%d"' % version


def expected_versions(
    if_match: str | None, if_none_match: str | None = None
) -> frozenset[int] | None:
    """The versions that may be changed; None if any may (no header, or ``If-Match: *``).

    ``if_none_match``: ``*``, with which none may: what is there is not to be changed.

    Errors: InvalidRequest for what is not a list of entity tags; StaleVersion for weak tags only.
    """
    if if_none_match is not None:
        return frozenset()
    if if_match is None or _is_any(if_match):
        return None
    tags = _parse(if_match, "if-match")
    if all(tag.weak for tag in tags):
        raise StaleVersion(_WEAK)
    return frozenset(int(tag.text) for tag in tags if not tag.weak and _VERSION.fullmatch(tag.text))


def is_not_modified(
    headers: Sequence[tuple[bytes, bytes]], if_match: str | None, if_none_match: str | None
) -> bool:
    """Whether a response with these headers is to be 304, as the caller has it already.

    Errors: StaleVersion when ``If-Match`` does not name the response's ``ETag``; InvalidRequest.
    """
    current = next((value for name, value in headers if name == b"etag"), None)
    if current is None:
        return False
    tag = _parse(current.decode("latin-1"), "etag")[0]
    # Both before either is compared: what is malformed is refused as such.
    expected, known = _tags_of(if_match, "if-match"), _tags_of(if_none_match, "if-none-match")
    if expected and (tag.weak or tag not in expected):
        raise StaleVersion(_WEAK) if all(each.weak for each in expected) else StaleVersion
    if known is None:
        return False
    return not known or any(each.text == tag.text for each in known)


def _is_any(header: str) -> bool:
    return header.strip() == "*"


def _tags_of(header: str | None, name: str) -> Sequence[_Tag] | None:
    """The tags that a header names: none for ``*``; None without the header."""
    if header is None:
        return None
    return () if _is_any(header) else _parse(header, name)


def _parse(header: str, name: str) -> Sequence[_Tag]:
    tags: list[_Tag] = []
    position = 0
    while position < len(header) or not position:
        tag = _TAG.match(header, position)
        if tag is None:
            raise InvalidRequest([FieldError('expected * or "<etag>"', parameter=f"header {name}")])
        tags.append(_Tag(tag[1] is not None, tag[2]))
        position = tag.end()
    return tags
