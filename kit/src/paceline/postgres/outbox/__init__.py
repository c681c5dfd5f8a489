"""The outbox: a message is written in the transaction of the change it tells of, and sent later.

Invariant: a change that was committed is told, one that was not is not; the messages of one key
reach the queue in the order in which they were written. A message may be sent twice, after a crash
between the queue's answer and the commit; it carries the same id then, so the queue drops the
second within its window, and ``paceline.postgres.inbox`` whenever it comes. Repositories call
`enqueue`; ``main`` starts an `OutboxRelay`. Read ``table``, ``relay``, then ``rounds``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.postgres.outbox.listener import OutboxListener
    from paceline.postgres.outbox.publishing import Publisher
    from paceline.postgres.outbox.relay import OutboxRelay
    from paceline.postgres.outbox.table import SCHEMA, OutboxStats, enqueue
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "OutboxListener": "listener",
            "OutboxRelay": "relay",
            "OutboxStats": "table",
            "Publisher": "publishing",
            "SCHEMA": "table",
            "enqueue": "table",
        },
        extra="postgres",
    )

__all__ = ["SCHEMA", "OutboxListener", "OutboxRelay", "OutboxStats", "Publisher", "enqueue"]
