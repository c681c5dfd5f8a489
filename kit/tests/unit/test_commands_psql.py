"""``psql``: a password is in no command line."""

from dataclasses import dataclass

import pytest

from paceline.commands.psql import without_password


@dataclass(frozen=True)
class Case:
    id: str
    url: str
    visible: str
    password: str | None = None


@pytest.mark.parametrize(
    "case",
    [
        Case("none", "postgresql://postgres@/db?host=/a/b&port=1", "postgresql://postgres@/db?host=/a/b&port=1"),
        Case("plain", "postgresql://u:secret@h:1/db", "postgresql://u@h:1/db", "secret"),
        Case("in the query", "postgresql://u@h/db?password=ge%2Fheim&sslmode=require", "postgresql://u@h/db?sslmode=require", "ge/heim"),
        Case("quoted", "postgres://u%40x:p%2F%40@h/db?sslmode=require", "postgres://u%40x@h/db?sslmode=require", "p/@"),
    ],
    ids=lambda case: case.id,
)  # fmt: skip
def test_the_password_goes_by_the_environment(case: Case) -> None:
    assert without_password(case.url) == (case.visible, case.password)
