"""Fresh primary keys: UUIDv7, which sort by the time they were made (RFC 9562, section 5.7).

Rows made together stand together in the index, unlike random ids, which touch a page each. The
type is the driver's own, a subclass of the standard library's: it needs no conversion on its way
to PostgreSQL, and its text is made in C. Handed to services as their ``new_id`` by ``main``.
"""

from uuid import UUID

import uuid_utils
from asyncpg.pgproto import pgproto


def uuid7() -> UUID:
    """A new id; those of one process ascend."""
    made: UUID = pgproto.UUID(uuid_utils.uuid7().bytes)
    return made
