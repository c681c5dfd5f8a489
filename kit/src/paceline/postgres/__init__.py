"""PostgreSQL: a pool of connections, transactions and errors in the kit's own terms.

Invariant: this is the only room that knows the driver. A repository takes a `Pool`, writes plain
SQL as literal strings, names `Connection` and `Row` in its signatures, and catches `DatabaseError`
where a state or a constraint means something to it; everything else is translated already.
`connect` opens one session of its own, for migrations, that raises the driver's own errors.
`listening` and `Notifier` are the two ends of a notification; `uuid7` makes primary keys.
Read ``pool`` first, then ``checkout`` (what becomes of a connection), ``transaction``, ``errors``.
"""

from paceline.postgres.connect import connect
from paceline.postgres.connection import Connection, Row
from paceline.postgres.errors import DatabaseError, OutcomeUnknown, translate
from paceline.postgres.ids import uuid7
from paceline.postgres.listen import Bell, listening
from paceline.postgres.notify import Notifier
from paceline.postgres.pool import Pool, PoolStats
from paceline.postgres.transaction import Isolation

__all__ = [
    "Bell",
    "Connection",
    "DatabaseError",
    "Isolation",
    "Notifier",
    "OutcomeUnknown",
    "Pool",
    "PoolStats",
    "Row",
    "connect",
    "listening",
    "translate",
    "uuid7",
]
