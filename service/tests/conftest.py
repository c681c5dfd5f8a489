"""Fixtures for all tests: real servers, and a migrated database.

hypothesis takes the time it takes, because the machine may be busy: a slow example says nothing
about the code.
"""

import gc

from databases import migrated, other_pool, pool, template
from hypothesis import HealthCheck, settings
from hypothesis.strategies import text
from record_cache import cache  # paceline: only redis

from paceline.testing import (
    database,
    nats,  # paceline: only nats
    postgres,
    redis,  # paceline: only redis
)

__all__ = [
    "cache",  # paceline: only redis
    "database",
    "migrated",
    "nats",  # paceline: only nats
    "other_pool",
    "pool",
    "postgres",
    "redis",  # paceline: only redis
    "template",
]

settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("busy")


def pytest_collection_finish() -> None:
    """Make hypothesis's table of Unicode, which takes a second on a clean clone.

    The collected tests are taken out of the garbage collector's sight: looking at all of them takes
    longer than a watch on the event loop allows.
    """
    text().validate()
    gc.collect()
    gc.freeze()
