"""Which statement failed, where, and why, from the server's error."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.postgres.migrate import Direction, MigrationFailed, MigrationFile, Step
from paceline.postgres.migrate.failure import (
    describe_failure,
    line_and_column,
    transaction_left_open,
)

STEP = Step(MigrationFile(2, "b", Direction.UP, Path("000002_b.up.sql")), 2)


class Refused(Exception):
    """A server's error, as a driver gives it."""

    def __init__(self, sqlstate: str, message: str, **fields: str) -> None:
        super().__init__(message)
        self.sqlstate: str | None = sqlstate
        self.message: str | None = message
        self.detail = fields.get("detail")
        self.hint = fields.get("hint")
        self.position = fields.get("position")
        self.context = fields.get("context")
        self.schema_name = fields.get("schema_name")
        self.table_name = fields.get("table_name")
        self.column_name = fields.get("column_name")
        self.constraint_name = fields.get("constraint_name")


FILE = """\
-- Größe
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int);
INSERT INTO a VALUES (1);
CREATE INDEX CONCURRENTLY i ON b (id);
DO $$ BEGIN PERFORM 1; END $$;
DROP TABLE c;
"""


def failed(error: Exception, sql: str = FILE) -> MigrationFailed:
    return describe_failure(STEP, sql, error)


@dataclass(frozen=True)
class Case:
    id: str
    error: Refused
    statements: tuple[int, ...]


NO_POSITION = [
    Case("a duplicate table", Refused("42P07", 'relation "b" already exists'), (2,)),
    Case(
        "a duplicate key",
        Refused(
            "23505",
            'duplicate key value violates unique constraint "a_pkey"',
            table_name="a",
            constraint_name="a_pkey",
        ),
        (3,),
    ),
    Case(
        "a command that must be alone",
        Refused("25001", "CREATE INDEX CONCURRENTLY cannot run inside a transaction block"),
        (4,),
    ),
    Case(
        "an exception in a block",
        Refused("P0001", "no", context="PL/pgSQL function inline_code_block line 3 at RAISE"),
        (5,),
    ),
    Case(
        "a table that others need",
        Refused("2BP01", "cannot drop table c because other objects depend on it"),
        (6,),
    ),
    Case("nothing to go by", Refused("22012", "division by zero"), (1, 2, 3, 4, 5, 6)),
]


@pytest.mark.parametrize("case", NO_POSITION, ids=lambda case: case.id)
def test_without_a_position_the_statement_is_inferred_from_the_error(case: Case) -> None:
    failure = failed(case.error)
    assert tuple(statement.ordinal for statement in failure.statements) == case.statements
    assert (failure.line, failure.column) == (None, None)
    assert any("no position" in line for line in failure.explanation)


def test_a_position_gives_statement_line_and_column_in_characters() -> None:
    position = FILE.index("VALUES") + 1
    error = Refused("42601", "no", position=str(position), detail="the detail", hint="the hint")
    failure = failed(error)
    assert [statement.ordinal for statement in failure.statements] == [3]
    assert (failure.line, failure.column) == (4, 15)
    assert str(failure) == (
        "migration 000002_b.up.sql failed at statement 3 of 6, line 4, column 15"
    )
    assert failure.explanation == (
        "statement 3 (line 4): INSERT INTO a VALUES (1)",
        "42601: no",
        "detail: the detail",
        "hint: the hint",
        "the database is left dirty at 000002: repair by hand, then: migrate force V",
    )


def test_many_suspects_are_counted_and_not_listed() -> None:
    failure = failed(Refused("22012", "division by zero"))
    assert str(failure) == "migration 000002_b.up.sql failed at one of 6 statements"
    assert len(failure.explanation) == 3


def test_a_lone_statement_needs_no_position() -> None:
    failure = failed(Refused("22012", "division by zero"), "\n\nSELECT 1/0;\n")
    assert str(failure) == "migration 000002_b.up.sql failed at statement 1 of 1, line 3"
    assert not any("no position" in line for line in failure.explanation)


def test_an_unexpected_end_is_in_the_last_statement() -> None:
    sql = "SELECT 1;\nSELECT (2"
    failure = failed(Refused("42601", "at end of input", position=str(len(sql) + 1)), sql)
    assert [statement.ordinal for statement in failure.statements] == [2]
    assert (failure.line, failure.column) == (2, 10)


def test_a_lost_connection_is_reported_as_such() -> None:
    failure = failed(ConnectionResetError("gone"))
    assert str(failure) == "migration 000002_b.up.sql failed"
    assert failure.explanation[0] == "ConnectionResetError: gone"


def test_the_message_never_holds_the_servers_text() -> None:
    error = Refused("22P02", "secret-value", position="1", detail="secret-value")
    assert "secret-value" not in str(failed(error))


def test_a_transaction_left_open_is_explained() -> None:
    failure = transaction_left_open(STEP)
    assert "BEGIN without COMMIT" in failure.explanation[0]


@given(st.text(alphabet="ab\né\r", min_size=1), st.data())
def test_line_and_column_point_at_the_character(text: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(text) - 1))
    line, column = line_and_column(text, offset)
    lines = text.split("\n")
    assert sum(len(each) + 1 for each in lines[: line - 1]) + column - 1 == offset
