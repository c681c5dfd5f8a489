"""The errors of migrations, other than a failure of a migration's own SQL (see ``failure``).

Every message is written for the operator at the command line: what is wrong, and how to mend it.
They carry no SQL and no data, so a service may log and show them.
"""

from paceline.errors import Code, Error


def version_text(version: int | None) -> str:
    """A version as files spell it: six digits at least; "no version" for None."""
    return "no version" if version is None else f"{version:06d}"


class SourceError(Error):
    """The migration files themselves are wrong: nothing was changed."""

    kind = "migration-source"

    def __init__(self, message: str) -> None:
        super().__init__(Code.FAILED_PRECONDITION, message)


class UnknownVersion(Error):
    """A version that no migration file has."""

    kind = "migration-unknown-version"

    def __init__(self, message: str) -> None:
        super().__init__(Code.NOT_FOUND, message)


class DirtyDatabase(Error):
    """A migration began and did not finish: nothing more runs until it is repaired by hand."""

    kind = "migration-dirty"

    def __init__(self, version: int | None) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            f"the database is dirty at {_at(version)}: a migration to it began and did not finish,"
            " so the schema may be half changed and nothing more is applied."
            " Look at what that migration did and repair by hand, then: migrate force V"
            " (V is the version the schema is really at now, -1 for none)",
        )
        self.version = version


class SharedSession(Error):
    """The connection may not be a session of its own, to which the migration lock could belong."""

    kind = "migration-shared-session"

    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "migrations need a session of their own, and this address leads to a pooler that may"
            " share sessions (PgBouncer): give the server's own address in APP_DATABASE_DIRECT_URL,"
            " or, if the pooler keeps a session for each client, add pgbouncer=false to the URL",
        )


class LockTimeout(Error):
    """Another session held the migration lock for longer than ``lock_timeout``."""

    kind = "migration-lock-timeout"

    def __init__(self, seconds: float, holder: str) -> None:
        super().__init__(
            Code.DEADLINE_EXCEEDED,
            f"could not take the migration lock within {seconds:g}s: {holder}",
        )


class NotEnoughMigrations(Error):
    """More migrations were requested than there are; those that there are have been applied.

    golang-migrate's ``ErrShortLimit``.
    """

    kind = "migration-short-limit"

    def __init__(self, requested: int, applied: int) -> None:
        super().__init__(
            Code.OUT_OF_RANGE,
            f"asked for {_count(requested)}, and there were no more than {applied} to apply",
        )
        self.applied = applied


class MigrationInterrupted(Error):
    """`Migrator.stop` was called, and no further migration was begun."""

    kind = "migration-stopped"

    def __init__(self, version: int | None, left: int) -> None:
        super().__init__(
            Code.CANCELLED, f"stopped at {_at(version)} as asked: {_count(left)} not applied"
        )


def _at(version: int | None) -> str:
    return "no version" if version is None else f"version {version_text(version)}"


def _count(migrations: int) -> str:
    return "1 migration" if migrations == 1 else f"{migrations} migrations"
