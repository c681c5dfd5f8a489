"""Fixtures for all tests: real servers, a migrated database, and each repository of records.

hypothesis takes the time it takes, because the machine may be busy: a slow example says nothing
about the code.
"""

import gc

import pytest
from databases import migrated, other_pool, pool, template
from hypothesis import HealthCheck, settings
from hypothesis.strategies import text
from memory_records import MemoryRecords
from record_cache import cache  # paceline: only redis

from myservice.repository.cached_records import CachedRecords  # paceline: only redis
from myservice.repository.records import PgRecords
from myservice.service.records import RecordRepository
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
    "repository",
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


@pytest.fixture(
    params=[
        "memory",
        pytest.param("postgres", marks=pytest.mark.integration),
        pytest.param("cached", marks=pytest.mark.integration),  # paceline: only redis
    ]
)
def repository(request: pytest.FixtureRequest) -> RecordRepository:
    """Each implementation in turn."""
    if request.param == "memory":
        return MemoryRecords()
    records = PgRecords(request.getfixturevalue("pool"))
    # paceline: only redis {
    if request.param == "cached":
        return CachedRecords(records, request.getfixturevalue("cache"))
    # paceline: }
    return records
