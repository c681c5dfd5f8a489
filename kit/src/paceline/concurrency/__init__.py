"""Concurrency on asyncio: deadlines, task groups, worker pools, merged streams, single flight.

The counterparts of Go's ``context``, ``errgroup``, ``singleflight`` and channels. What waits has a
deadline, and no task outlives the block or the service that started it.
"""

from paceline.concurrency.background import BackgroundService
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
from paceline.concurrency.threads import run_in_daemon_thread
from paceline.concurrency.workers import WorkResult, process_pool, worker_pool

__all__ = [
    "BackgroundService",
    "Deadline",
    "DeadlineExceeded",
    "DeadlineScope",
    "LimitedTaskGroup",
    "SharedDeadline",
    "SingleFlight",
    "WorkResult",
    "current_deadline",
    "expired",
    "fail_after",
    "fetch_all",
    "inherit",
    "merge",
    "name_timeout",
    "process_pool",
    "remaining",
    "run_in_daemon_thread",
    "timeout_message",
    "worker_pool",
]
