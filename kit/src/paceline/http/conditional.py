"""Entity tags from versions, and what ``If-Match`` says about them (RFC 9110, sections 8.8, 13.1).

A resource with a version number has the strong tag ``"<version>"``. `expected_versions` turns
``If-Match`` back into the versions that the caller accepts: a tag that this service never issued,
or a weak one (strong comparison is required here), matches nothing, so it ends in 412 and never in
a lost update.
"""

import re
from typing import Annotated, Final, TypeAlias

import msgspec

from paceline.http.problem import FieldError, InvalidRequest

IfMatch: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r'^(\*|(W/)?"[^"]*"( *, *(W/)?"[^"]*")*)$',
        description="the entity tags of the versions to be changed, or *",
    ),
]
"""The type of an ``If-Match`` parameter: ``Header[IfMatch | None]``."""

_TAG: Final = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")


def entity_tag(version: int) -> bytes:
    """The ``ETag`` of a version."""
    return b'"%d"' % version


def expected_versions(if_match: str | None) -> frozenset[int] | None:
    """The versions that ``If-Match`` names; None if any will do (no header, or ``*``).

    Errors: InvalidRequest for what is not a list of entity tags.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    versions: set[int] = set()
    position = 0
    while position < len(if_match) or not position:
        tag = _TAG.match(if_match, position)
        if tag is None:
            raise InvalidRequest(
                [FieldError('expected * or "<etag>"', parameter="header if-match")]
            )
        weak, text = tag.groups()
        if not weak and _VERSION.fullmatch(text):
            versions.add(int(text))
        position = tag.end()
    return frozenset(versions)
