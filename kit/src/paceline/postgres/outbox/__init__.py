"""The outbox: a message is written in the transaction of the change it announces, and sent later.

Invariant: a change that was committed is announced, one that was not is not; the messages of one
key reach the queue in the order in which they were written. A message may be sent twice, after a
crash between the queue's acknowledgement and the commit; it has the same id then, so the broker
drops the second within its deduplication window, and ``paceline.postgres.inbox`` at any time.
Repositories call `enqueue`; an `OutboxRelay` sends.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.postgres.outbox.listener import OutboxListener
    from paceline.postgres.outbox.publishing import Publisher
    from paceline.postgres.outbox.relay import OutboxRelay
    from paceline.postgres.outbox.table import OUTBOX_SCHEMA, OutboxStats, enqueue
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "OUTBOX_SCHEMA": "table",
            "OutboxListener": "listener",
            "OutboxRelay": "relay",
            "OutboxStats": "table",
            "Publisher": "publishing",
            "enqueue": "table",
        },
        extra="postgres",
    )

__all__ = [
    "OUTBOX_SCHEMA",
    "OutboxListener",
    "OutboxRelay",
    "OutboxStats",
    "Publisher",
    "enqueue",
]
