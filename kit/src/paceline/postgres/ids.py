"""Primary keys: UUIDv7, which sort by creation time (RFC 9562, section 5.7).

Rows created together are adjacent in the index, unlike random ids, which touch a page each. The
type is the driver's own, a subclass of the standard library's: it needs no conversion on its way
to PostgreSQL, and its text is made in C.
"""

from uuid import UUID

import uuid_utils
from asyncpg.pgproto import pgproto


def uuid7() -> UUID:
    """A new id; the ids of one process ascend."""
    made: UUID = pgproto.UUID(uuid_utils.uuid7().bytes)
    return made
