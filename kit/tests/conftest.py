"""For all of the kit's tests: real servers; ``database``, empty; a watch on the loop."""

from paceline.testing.fixtures import (
    database,
    nats,
    postgres,
    pytest_asyncio_loop_factories,
    pytest_runtest_call,
    redis,
)

__all__ = [
    "database",
    "nats",
    "postgres",
    "pytest_asyncio_loop_factories",
    "pytest_runtest_call",
    "redis",
]
