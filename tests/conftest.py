"""Fixtures for tests of the service that need more than the service: docs, tools, the kit's tests."""

from databases import migrated, other_pool, pool, template

from paceline.testing import database, nats, postgres

__all__ = ["database", "migrated", "nats", "other_pool", "pool", "postgres", "template"]
