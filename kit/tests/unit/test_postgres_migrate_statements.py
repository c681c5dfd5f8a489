"""Where statements start and end."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.postgres.migrate.statements import split


@dataclass(frozen=True)
class Case:
    id: str
    sql: str
    statements: tuple[str, ...]


CASES = [
    Case("none", "", ()),
    Case("blanks and semicolons", " \n;; ;", ()),
    Case("comments only", "-- a;\n/* b; /* c; */ */", ()),
    Case("one, not ended", "SELECT 1", ("SELECT 1",)),
    Case("two", "SELECT 1;\nSELECT 2;\n", ("SELECT 1", "SELECT 2")),
    Case("a string", "SELECT ';''; ';SELECT 2", ("SELECT ';''; '", "SELECT 2")),
    Case("an escape string", r"SELECT E'\';'; SELECT 2", (r"SELECT E'\';'", "SELECT 2")),
    Case("a backslash that escapes nothing", r"SELECT '\'; SELECT 2", (r"SELECT '\'", "SELECT 2")),
    Case("a quoted name", 'SELECT ";"";"; SELECT 2', ('SELECT ";"";"', "SELECT 2")),
    Case("a dollar quote", "DO $$ a; $x$ b; $$; SELECT 2", ("DO $$ a; $x$ b; $$", "SELECT 2")),
    Case("a named dollar quote", "DO $é1$ a; $$; $é1$; x", ("DO $é1$ a; $$; $é1$", "x")),
    Case("a dollar in a name", "SELECT a$b$; SELECT 2", ("SELECT a$b$", "SELECT 2")),
    Case("a parameter", "SELECT $1; SELECT $2", ("SELECT $1", "SELECT $2")),
    Case("a comment inside", "SELECT -- ;\n 1; SELECT 2", ("SELECT -- ;\n 1", "SELECT 2")),
    Case(
        "a rule",
        "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b); SELECT 2",
        ("CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b)", "SELECT 2"),
    ),
    Case(
        "a function's body",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; END; BEGIN; x",
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; END",
            "BEGIN",
            "x",
        ),
    ),
    Case("an open string", "SELECT 'a; b", ("SELECT 'a; b",)),
    Case("an open comment", "SELECT 1; /* b;", ("SELECT 1",)),
    Case("an open dollar quote", "SELECT 1; DO $$ b;", ("SELECT 1", "DO $$ b;")),
    Case("a stray parenthesis", "SELECT 1); SELECT 2", ("SELECT 1)", "SELECT 2")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_text_is_split_at_the_semicolons_that_end_statements(case: Case) -> None:
    assert tuple(statement.text for statement in split(case.sql)) == case.statements


def test_a_statement_has_its_offset_and_line() -> None:
    sql = "-- first\nSELECT 1;\n\n  /* x */ SELECT\n 2;"
    one, two = split(sql)
    assert (one.ordinal, one.line, sql[one.start :][:8]) == (1, 2, "SELECT 1")
    assert (two.ordinal, two.line, sql[two.start :][:6]) == (2, 4, "SELECT")
    assert two.headline == "SELECT"


def test_a_long_first_line_is_shortened() -> None:
    (statement,) = split(f"SELECT {'x' * 200}")
    assert len(statement.headline) == 100
    assert statement.headline.endswith("x…")


PIECES = [
    "SELECT 1",
    "'a;b'",
    'x ";"',
    "$q$ ; $q$",
    "f(a; b)",
    "E'\\';'",
    "a -- ;\n b",
    "ü /* ; */ c",
]


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.sampled_from([";", ";\n", " ; ", ";;"]))
def test_joined_statements_are_split_again(pieces: list[str], between: str) -> None:
    assert [statement.text for statement in split(between.join(pieces))] == pieces


@given(st.text(alphabet="a1 ;'\"$E\\-/*()\nbéEND", max_size=60))
def test_any_text_is_split_into_pieces_in_order(sql: str) -> None:
    at = 0
    for statement in split(sql):
        assert statement.start >= at
        assert statement.text
        assert sql.startswith(statement.text, statement.start)
        assert statement.line == sql[: statement.start].count("\n") + 1
        at = statement.start + len(statement.text)
