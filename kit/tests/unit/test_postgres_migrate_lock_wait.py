"""Which migrations may be sent again: those of which nothing can have been committed."""

from dataclasses import dataclass

import pytest

from paceline.postgres.migrate.lock_wait import may_be_sent_again


@dataclass(frozen=True)
class Case:
    sql: str
    again: bool


CASES = (
    Case("ALTER TABLE a ADD COLUMN b int;", again=True),
    Case("CREATE INDEX i ON a (b); DROP TABLE c;", again=True),
    Case("BEGIN; DROP TABLE c; COMMIT;", again=True),
    Case("start transaction; DROP TABLE c; end;", again=True),
    Case("BEGIN; DROP TABLE c; COMMIT; DROP TABLE d;", again=False),
    Case("DROP TABLE c; COMMIT; DROP TABLE d;", again=False),
    Case("BEGIN; DROP TABLE c; COMMIT; BEGIN; DROP TABLE d; COMMIT;", again=False),
    Case("CREATE INDEX CONCURRENTLY i ON a (b);", again=False),
    Case("-- a comment\ndrop index concurrently i", again=False),
    Case("REINDEX TABLE a;", again=False),
    Case("VACUUM a;", again=False),
    Case("CALL move_rows();", again=False),
    Case("DO $$ BEGIN PERFORM 1; COMMIT; END $$;", again=False),
    Case("DO $$ BEGIN ALTER TABLE a ADD b int; END $$;", again=True),
    Case("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; DROP TABLE c;", again=True),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sql)
def test_a_file_is_sent_again_only_if_it_is_one_transaction(case: Case) -> None:
    assert may_be_sent_again(case.sql) is case.again
