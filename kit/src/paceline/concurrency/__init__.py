"""Concurrency on asyncio: deadlines, task groups, worker pools, merged streams, single flight.

Everything that waits has a deadline, and nothing outlives the block that started it.
"""

from paceline.concurrency.background import Background
from paceline.concurrency.deadline import (
    Deadline,
    DeadlineExceeded,
    DeadlineScope,
    SharedDeadline,
    current_deadline,
    expired,
    fail_after,
    inherit,
    name_timeout,
    remaining,
    timeout_message,
)
from paceline.concurrency.merge import merge
from paceline.concurrency.singleflight import SingleFlight
from paceline.concurrency.task_group import LimitedTaskGroup, fetch_all
from paceline.concurrency.threads import in_daemon_thread
from paceline.concurrency.workers import process_pool

__all__ = [
    "Background",
    "Deadline",
    "DeadlineExceeded",
    "DeadlineScope",
    "LimitedTaskGroup",
    "SharedDeadline",
    "SingleFlight",
    "current_deadline",
    "expired",
    "fail_after",
    "fetch_all",
    "in_daemon_thread",
    "inherit",
    "merge",
    "name_timeout",
    "process_pool",
    "remaining",
    "timeout_message",
]
