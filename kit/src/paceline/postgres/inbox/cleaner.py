"""Deletes ids from the inbox that the queue cannot deliver again."""

from paceline.log import Logger
from paceline.postgres import Pool, RowCleaner


class InboxCleaner(RowCleaner):
    """Deletes ids claimed more than ``keep`` seconds ago, every ``interval`` seconds.

    ``keep`` must be longer than the queue may take to deliver a message again: its greatest age
    there, the time as a dead letter included.

    *Resources*: a task, from `start` to `stop`.
    """

    def __init__(
        self, pool: Pool, log: Logger, *, keep: float = 30 * 86400.0, interval: float = 300.0
    ) -> None:
        super().__init__(pool, log, "inbox", keep=keep, time="claimed_at", interval=interval)
