"""PostgreSQL: a pool of connections, transactions and errors in the kit's own terms.

Invariant: this is the only room that knows the driver. A repository takes a `Pool`, writes plain
SQL as literal strings, names `Connection` and `Row` in its signatures, and catches `DatabaseError`
where a state or a constraint means something to it; everything else is translated already.
`connect` opens one session of its own, for migrations, that raises the driver's own errors.
`listening` and `Notifier` are the two ends of a notification; `uuid7` makes primary keys.
Read ``pool`` first, then ``checkout`` (what becomes of a connection), ``transaction``, ``errors``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.postgres.connection import Connection, Row
    from paceline.postgres.connector import connect, describe
    from paceline.postgres.errors import DatabaseError, OutcomeUnknown, translate
    from paceline.postgres.ids import uuid7
    from paceline.postgres.listen import Wakeup, listening
    from paceline.postgres.notify import Notifier
    from paceline.postgres.pool import Pool, PoolStats
    from paceline.postgres.spans import begin, end
    from paceline.postgres.transaction import Isolation
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Connection": "connection",
            "DatabaseError": "errors",
            "Isolation": "transaction",
            "Notifier": "notify",
            "OutcomeUnknown": "errors",
            "Pool": "pool",
            "PoolStats": "pool",
            "Row": "connection",
            "Wakeup": "listen",
            "begin": "spans",
            "connect": "connector",
            "describe": "connector",
            "end": "spans",
            "listening": "listen",
            "translate": "errors",
            "uuid7": "ids",
        },
        extra="postgres",
    )

__all__ = [
    "Connection",
    "DatabaseError",
    "Isolation",
    "Notifier",
    "OutcomeUnknown",
    "Pool",
    "PoolStats",
    "Row",
    "Wakeup",
    "begin",
    "connect",
    "describe",
    "end",
    "listening",
    "translate",
    "uuid7",
]
