"""Which statements are known to leave the session unchanged."""

from dataclasses import dataclass

import pytest

from paceline.postgres.session_state import changes_session, may_write


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "  select id from records where id = $1 ;\n",
        "INSERT INTO t VALUES ($1) RETURNING id",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "MERGE INTO t USING s ON true WHEN MATCHED THEN DO NOTHING",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "VALUES (1)",
        "SELECT pg_advisory_xact_lock(1)",
    ],
)
def test_a_statement_about_rows_changes_no_session_state(sql: str) -> None:
    assert not changes_session(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SET search_path TO x",
        "SET LOCAL work_mem = '1MB'",
        "LISTEN records",
        "BEGIN",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "PREPARE p AS SELECT 1",
        "SELECT set_config('a.b', 'c', false)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock_shared(1)",
        "SELECT 1; SET search_path TO x",
        "-- a comment\nSELECT 1",
        "selectivity",
        "CREATE TEMP TABLE t ()",
    ],
)
def test_any_other_statement_counts_as_changing_it(sql: str) -> None:
    assert changes_session(sql)


@dataclass(frozen=True)
class Effect:
    sql: str
    writes: bool


EFFECTS = (
    Effect("SELECT 1", writes=False),
    Effect("  -- a comment\n select * from t for update", writes=False),
    Effect("/* why */ VALUES (1)", writes=False),
    Effect("WITH a AS (SELECT 1) SELECT * FROM a", writes=False),
    Effect("WITH a AS (SELECT 1 FROM t FOR NO KEY UPDATE) SELECT * FROM a", writes=False),
    Effect("WITH a AS (UPDATE t SET n = 1 RETURNING n) SELECT * FROM a", writes=True),
    Effect("WITH a AS (DELETE FROM t RETURNING n) SELECT * FROM a", writes=True),
    Effect("INSERT INTO t VALUES (1)", writes=True),
    Effect("update t set n = 1", writes=True),
    Effect("CREATE TABLE t (n int)", writes=True),
    Effect("CALL p()", writes=True),
)


@pytest.mark.parametrize("case", EFFECTS, ids=lambda case: case.sql)
def test_what_may_have_had_an_effect_is_recognized(case: Effect) -> None:
    assert may_write(case.sql) is case.writes
