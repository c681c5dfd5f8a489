"""Every SQLSTATE of the driver and the standard has a code, and no text of the server is shown."""

from dataclasses import dataclass

import asyncpg
import pytest
from asyncpg import exceptions

from paceline.errors import Code, Error, NotFound
from paceline.postgres.errors import (
    CLASSES,
    MESSAGES,
    STATES,
    DatabaseError,
    code_of,
    leaves_connection_usable,
    translate,
)

# Appendix A of the PostgreSQL 18 manual.
STANDARD = """
    00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F
    40 42 44 53 54 55 57 58 72 F0 HV P0 XX
"""


def known_states() -> list[str]:
    named = (getattr(exceptions, name) for name in exceptions.__all__)
    states = {getattr(each, "sqlstate", None) for each in named}
    return sorted(state for state in states if isinstance(state, str))


def server_error(sqlstate: str, **fields: str) -> asyncpg.PostgresError:
    letters = {"constraint": "n", "detail": "D"}
    report = {"C": sqlstate, "M": "secret text", **{letters[k]: v for k, v in fields.items()}}
    return asyncpg.PostgresError.new(report)


def test_every_class_of_the_manual_is_in_the_table() -> None:
    assert sorted(CLASSES) == sorted(STANDARD.split())


def test_every_exact_state_exists_in_the_driver() -> None:
    assert set(STATES) <= set(known_states())


@pytest.mark.parametrize("sqlstate", known_states())
def test_every_state_of_the_driver_has_a_code_with_a_message(sqlstate: str) -> None:
    assert sqlstate in STATES or sqlstate[:2] in CLASSES
    assert code_of(sqlstate) in MESSAGES


@dataclass(frozen=True)
class Case:
    sqlstate: str
    code: Code


CASES = (
    Case("23505", Code.ALREADY_EXISTS),
    Case("23503", Code.FAILED_PRECONDITION),
    Case("23514", Code.INVALID_ARGUMENT),
    Case("22P02", Code.INVALID_ARGUMENT),
    Case("22003", Code.OUT_OF_RANGE),
    Case("40001", Code.ABORTED),
    Case("40P01", Code.ABORTED),
    Case("53300", Code.UNAVAILABLE),
    Case("53100", Code.UNAVAILABLE),
    Case("53200", Code.UNAVAILABLE),
    Case("57014", Code.DEADLINE_EXCEEDED),
    Case("57P01", Code.UNAVAILABLE),
    Case("08006", Code.UNAVAILABLE),
    Case("42P01", Code.INTERNAL),
    Case("42501", Code.INTERNAL),
    Case("28P01", Code.UNAVAILABLE),
    Case("XX001", Code.DATA_LOSS),
    Case("ZZ999", Code.INTERNAL),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sqlstate)
def test_a_server_error_becomes_its_code_and_a_fixed_text(case: Case) -> None:
    error = translate(server_error(case.sqlstate, detail="Key (email)=(a@b) already exists."))
    assert isinstance(error, DatabaseError)
    assert (error.code, error.message) == (case.code, MESSAGES[case.code])
    assert error.sqlstate == case.sqlstate


def test_the_violated_constraint_is_available() -> None:
    error = translate(server_error("23505", constraint="records_pkey"))
    assert isinstance(error, DatabaseError)
    assert error.constraint == "records_pkey"


@dataclass(frozen=True)
class ClientCase:
    exc: Exception
    code: Code


CLIENT_CASES = (
    ClientCase(TimeoutError(), Code.DEADLINE_EXCEEDED),
    ClientCase(ConnectionResetError(), Code.UNAVAILABLE),
    ClientCase(OSError(113, "no route"), Code.UNAVAILABLE),
    ClientCase(exceptions.ConnectionDoesNotExistError("gone"), Code.UNAVAILABLE),
    ClientCase(asyncpg.TargetServerAttributeNotMatched("standby"), Code.UNAVAILABLE),
    ClientCase(asyncpg.InterfaceError("another operation is in progress"), Code.INTERNAL),
    ClientCase(asyncpg.InternalClientError("state"), Code.UNAVAILABLE),
    ClientCase(asyncpg.OutdatedSchemaCacheError("schema"), Code.ABORTED),
    ClientCase(asyncpg.InvalidCachedStatementError("schema"), Code.ABORTED),
    ClientCase(KeyError("x"), Code.INTERNAL),
)


@pytest.mark.parametrize("case", CLIENT_CASES, ids=lambda case: type(case.exc).__name__)
def test_a_failure_of_the_client_has_a_code_too(case: ClientCase) -> None:
    error = translate(case.exc)
    assert (error.code, error.message) == (case.code, MESSAGES[case.code])


@dataclass(frozen=True)
class End:
    sqlstate: str
    severity: str
    ends: bool


ENDS = (
    End("57P01", "FATAL", ends=True),
    End("57P01", "ERROR", ends=True),  # a pooler's report
    End("57P03", "FATAL", ends=True),
    End("25P03", "FATAL", ends=True),
    End("08006", "ERROR", ends=True),
    End("53300", "FATAL", ends=True),
    End("25006", "ERROR", ends=False),  # it still reads; the pool finds out whether it is replaced
    End("57014", "ERROR", ends=False),
    End("23505", "ERROR", ends=False),
)


@pytest.mark.parametrize("case", ENDS, ids=lambda case: f"{case.sqlstate} {case.severity}")
def test_a_connection_that_the_server_ends_is_not_used_again(case: End) -> None:
    error = asyncpg.PostgresError.new({"C": case.sqlstate, "M": "x", "V": case.severity})
    assert leaves_connection_usable(error) is not case.ends


def test_an_error_of_the_kit_is_its_own_translation() -> None:
    error: Error = NotFound()
    assert translate(error) is error
