"""A development instance that is only a lock and a description."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from paceline.commands.instance import Instance, InstanceLock


@contextmanager
def running_instance(
    folder: Path, settings: Mapping[str, str], **places: str
) -> Generator[Instance]:
    """As if ``run`` held ``folder``, with these settings. *Resources*: the lock, for the block."""
    instance = Instance(
        program="small",
        version="1.2.3",
        pid=os.getpid(),
        started=datetime.now(UTC),
        settings=dict(settings),
        **places,
    )
    lock = InstanceLock(folder)
    lock.acquire(instance)
    try:
        yield instance
    finally:
        lock.release()
