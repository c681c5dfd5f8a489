"""Fixtures for the kit's own tests: ``postgres``, a server, and ``database``, an empty database."""

from paceline.testing.fixtures import database, postgres

__all__ = ["database", "postgres"]
