"""The lock's keys are golang-migrate's, and waiting for it ends at its timeout."""

import pytest

from paceline.postgres.migrate import LockTimeout
from paceline.postgres.migrate.lock import lock_key, lock_keys, migration_lock


class Session:
    """A session in which ``free`` keys can be locked."""

    def __init__(self, *free: int) -> None:
        self.free = set(free)
        self.held: list[int] = []
        self.open_transaction = False
        self.broken = False

    async def execute(self, query: str, /, *args: object) -> object:
        assert query == "ROLLBACK"
        self.open_transaction = False
        return None

    async def fetchrow(self, query: str, /, *args: object) -> None:
        raise NotImplementedError

    async def fetchval(self, query: str, /, *args: object) -> object:
        if self.broken:
            raise ConnectionResetError
        (key,) = args
        if "try_advisory_lock" in query and isinstance(key, int):
            if key in self.free:
                self.held.append(key)
            return key in self.free
        if "advisory_unlock" in query and isinstance(key, int):
            assert not self.open_transaction
            self.held.remove(key)
            return True
        return "pid 7 (user app)"

    def is_in_transaction(self) -> bool:
        return self.open_transaction


# Computed by golang-migrate v4.20.1's database.GenerateAdvisoryLockId.
KEYS = {
    ("public", "schema_migrations", "/records"): 2415015048,
    ("public", "schema_migrations", "records"): 37502443,
    ("app", "m", "/größe"): 651257415,
}


@pytest.mark.parametrize(("names", "key"), KEYS.items(), ids=str)
def test_the_key_is_golang_migrates(names: tuple[str, str, str], key: int) -> None:
    assert lock_key(*names) == key


def test_both_names_of_the_database_are_locked() -> None:
    assert lock_keys("public", "schema_migrations", "records") == (2415015048, 37502443)


async def test_both_keys_are_held_for_the_block_and_then_released() -> None:
    session = Session(1, 2)
    async with migration_lock(session, (1, 2), 0):
        assert session.held == [1, 2]
    assert session.held == []


async def test_the_holder_of_the_lock_is_named_and_nothing_stays_held() -> None:
    session = Session(1)
    with pytest.raises(LockTimeout, match=r"within 0.02s: pid 7 \(user app\) has it"):
        async with migration_lock(session, (1, 2), 0.02):
            pytest.fail("there is no lock")
    assert session.held == []


async def test_a_transaction_left_open_is_rolled_back_before_the_release() -> None:
    session = Session(1, 2)

    async def leave_open() -> None:
        async with migration_lock(session, (1, 2), 0):
            session.open_transaction = True
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - any
        await leave_open()
    assert session.held == []


async def test_a_broken_session_does_not_hide_the_error_of_the_block() -> None:
    session = Session(1, 2)

    async def break_it() -> None:
        async with migration_lock(session, (1, 2), 0):
            session.broken = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_it()
