"""For all of the kit's tests: ``postgres``, a server; ``database``, empty; a watch on the loop."""

from paceline.testing.fixtures import (
    database,
    postgres,
    pytest_asyncio_loop_factories,
    pytest_runtest_call,
)

__all__ = ["database", "postgres", "pytest_asyncio_loop_factories", "pytest_runtest_call"]
