"""PostgreSQL: a pool of connections, transactions and errors in the kit's own terms.

Invariant: this is the only room that knows the driver. A repository takes a `Pool`, writes plain
SQL as literal strings, names `Connection` and `Row` in its signatures, and catches `DatabaseError`
where a state or a constraint means something to it; everything else is translated already.
`connect` opens one session of its own, for migrations, that raises the driver's own errors.
`listening` and `Notifier` are the two ends of a notification; `uuid7` makes primary keys.
Read ``pool`` first, then ``checkout`` (what becomes of a connection), ``transaction``, ``errors``.
"""

from paceline.pg.connect import connect
from paceline.pg.connection import Connection, Row
from paceline.pg.errors import DatabaseError, OutcomeUnknown, translate
from paceline.pg.ids import uuid7
from paceline.pg.listen import Bell, listening
from paceline.pg.notify import Notifier
from paceline.pg.pool import Pool, PoolStats
from paceline.pg.transaction import Isolation

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
