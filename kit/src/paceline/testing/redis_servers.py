"""A real Redis-compatible server for tests.

The tests of a session share it: each uses keys of its own, or flushes the database first. Free of
pytest: ``fixtures`` has a session's server for a conftest, and shows how to use this.
"""

from pathlib import Path

from paceline.engines import RedisEngine
from paceline.testing.logs import SilentLog


def new_test_redis(folder: Path) -> RedisEngine:
    """A server on ``folder``. Not started; as with PostgreSQL, any event loop will do for that."""
    return RedisEngine(SilentLog(), data_dir=folder)
