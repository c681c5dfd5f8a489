"""PostgreSQL: a pool of connections, transactions, notifications, and errors as `paceline.errors`.

Invariant: this is the only room that imports the driver. A repository takes a `Pool`, runs plain
SQL as literal strings, names `Connection` and `Row` in its signatures, and catches `DatabaseError`
where a SQLSTATE or a constraint has a meaning of its own; all other failures are translated.
`VersionedTable` is a whole repository of one table, of which a `TableSchema` says the columns.
`connect` opens a connection outside the pool, for migrations, which raises the driver's errors.
`ReadPolicy` repeats and bounds reads. `Notifier` and `listening` are the two ends of a
notification; `uuid7` makes primary keys. `KeyedInserts` insert once for each idempotency key;
`RowCleaner` deletes what is old.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.postgres.address import check_database_url
    from paceline.postgres.connection import Connection, Row
    from paceline.postgres.connector import connect, describe_dsn, is_pooled
    from paceline.postgres.errors import DatabaseError, OutcomeUnknown
    from paceline.postgres.ids import uuid7
    from paceline.postgres.keyed_inserts import IDEMPOTENCY_SCHEMA, KeyedInserts
    from paceline.postgres.listen import Wakeup, listening
    from paceline.postgres.notify import Notifier
    from paceline.postgres.pool import Pool, PoolSettings, PoolStats
    from paceline.postgres.read_policy import ReadPolicy
    from paceline.postgres.row_cleaner import RowCleaner
    from paceline.postgres.table import TableChange, VersionedTable
    from paceline.postgres.table_schema import Column, TableSchema
    from paceline.postgres.transaction import IsolationLevel
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Column": "table_schema",
            "Connection": "connection",
            "DatabaseError": "errors",
            "IDEMPOTENCY_SCHEMA": "keyed_inserts",
            "IsolationLevel": "transaction",
            "KeyedInserts": "keyed_inserts",
            "Notifier": "notify",
            "OutcomeUnknown": "errors",
            "Pool": "pool",
            "PoolSettings": "pool",
            "PoolStats": "pool",
            "ReadPolicy": "read_policy",
            "Row": "connection",
            "RowCleaner": "row_cleaner",
            "TableChange": "table",
            "TableSchema": "table_schema",
            "VersionedTable": "table",
            "Wakeup": "listen",
            "check_database_url": "address",
            "connect": "connector",
            "describe_dsn": "connector",
            "is_pooled": "connector",
            "listening": "listen",
            "uuid7": "ids",
        },
        extra="postgres",
    )

__all__ = [
    "IDEMPOTENCY_SCHEMA",
    "Column",
    "Connection",
    "DatabaseError",
    "IsolationLevel",
    "KeyedInserts",
    "Notifier",
    "OutcomeUnknown",
    "Pool",
    "PoolSettings",
    "PoolStats",
    "ReadPolicy",
    "Row",
    "RowCleaner",
    "TableChange",
    "TableSchema",
    "VersionedTable",
    "Wakeup",
    "check_database_url",
    "connect",
    "describe_dsn",
    "is_pooled",
    "listening",
    "uuid7",
]
