"""A real Redis-compatible server for tests.

Tests share the session's server, so each uses keys of its own, or flushes the database first.
Independent of pytest.
"""

from pathlib import Path

from paceline.engines import RedisEngine
from paceline.testing.logs import SilentLog


def new_test_redis(folder: Path) -> RedisEngine:
    """A server on ``folder``, not started; not bound to an event loop."""
    return RedisEngine(SilentLog(), data_dir=folder)
