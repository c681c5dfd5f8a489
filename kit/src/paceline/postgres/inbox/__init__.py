"""The inbox: which messages have had their effect, so that a redelivery has no second one.

Invariant: a message's id is written in the transaction of its effect, so both are committed or
neither. A repository calls `claim` in that transaction; `InboxCleaner` deletes old ids.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.postgres.inbox.cleaner import InboxCleaner
    from paceline.postgres.inbox.table import INBOX_SCHEMA, claim, claimable
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "INBOX_SCHEMA": "table",
            "InboxCleaner": "cleaner",
            "claim": "table",
            "claimable": "table",
        },
        extra="postgres",
    )

__all__ = ["INBOX_SCHEMA", "InboxCleaner", "claim", "claimable"]
