"""A migration's SQL failed: which file, which statement, which line and column, and why.

The server gives a position for an error found while parsing a statement (syntax, names, types) and
none for one found while executing it (a row that violates a constraint, a table that exists). Then
the statement is inferred from the names in the error, and the message says so. Rejected: running
the statements one at a time, because a file is sent whole, as one implicit transaction, exactly as
golang-migrate does; and running them again to find the one that fails.
"""

import re

from paceline.errors import Code, Error
from paceline.postgres.migrate.connection import ServerError
from paceline.postgres.migrate.errors import version_text
from paceline.postgres.migrate.plan import Step
from paceline.postgres.migrate.statements import Statement, split

_QUOTED = re.compile(r'"([^"]+)"')
_DROP_TARGET = re.compile(r"cannot drop .*?(\S+) because")
_BEFORE_DETAILS = re.compile(r"\bON\b|\(", re.IGNORECASE)
_DATA_COMMAND = re.compile(
    r"(ALTER|CALL|CREATE UNIQUE|DELETE|INSERT|MERGE|SELECT|UPDATE|WITH)\b", re.IGNORECASE
)
_CREATING_COMMAND = re.compile(r"(ALTER|CREATE|SELECT)\b", re.IGNORECASE)
_DROPPING_COMMAND = re.compile(r"(ALTER|DROP)\b", re.IGNORECASE)
_DUPLICATE = {"42701", "42710", "42723", "42P06", "42P07"}
_INTEGRITY_CLASS = "23"
_MAX_LISTED = 3
"""More suspects than this are not listed."""
_DEPENDENTS = "2BP01"


class MigrationFailed(Error):
    """One file failed; the version is left dirty. ``explanation`` has the server's message.

    ``line`` and ``column`` count from 1, in characters; None when the server gave no position.
    ``statements``: those that may have failed; exactly one when it is certain.
    """

    kind = "migration-failed"

    def __init__(
        self,
        step: Step,
        *,
        where: str = "",
        explanation: tuple[str, ...] = (),
        place: tuple[int, int] | None = None,
        statements: tuple[Statement, ...] = (),
    ) -> None:
        label = step.file.label
        super().__init__(Code.FAILED_PRECONDITION, f"migration {label} failed{where}")
        self.step = step
        self.statements = statements
        self.line: int | None = place[0] if place else None
        self.column: int | None = place[1] if place else None
        left_at = f"the database is left dirty at {version_text(step.target)}"
        self.explanation: tuple[str, ...] = (
            *explanation,
            f"{left_at}: repair by hand, then: migrate force V",
        )

    def explain_rollback(self) -> None:
        """Say instead that it changed nothing and the version was set back."""
        self.explanation = (
            *self.explanation[:-1],
            "it changed nothing: mend the file, and the next start tries again",
        )


def transaction_left_open(step: Step) -> MigrationFailed:
    """The failure of a file that begins a transaction and does not end it."""
    return MigrationFailed(
        step,
        where=" at its end",
        explanation=(
            "it leaves a transaction open (BEGIN without COMMIT), which was rolled back.",
            "a file is one transaction already: leave BEGIN out, or add COMMIT",
        ),
    )


def describe_failure(step: Step, sql: str, error: Exception) -> MigrationFailed:
    """The failure of ``step``, from the server's ``error`` or from a lost connection."""
    if not isinstance(error, ServerError):
        reason = f"{type(error).__name__}: {error}"
        return MigrationFailed(step, explanation=(reason,))
    statements = split(sql)
    place = offset = None
    if error.position is not None:
        offset = int(error.position) - 1
        place = line_and_column(sql, offset)
    suspects = _suspects(statements, offset, error)
    lines: list[str] = []
    if len(suspects) <= _MAX_LISTED:
        lines += [f"statement {s.ordinal} (line {s.line}): {s.headline}" for s in suspects]
    if place is None and len(statements) > 1:
        lines.append("the server gives no position for this error: inferred from the names in it")
    return MigrationFailed(
        step,
        where=_where(statements, suspects, place),
        explanation=(*lines, *_server_report(error)),
        place=place,
        statements=tuple(suspects),
    )


def line_and_column(sql: str, offset: int) -> tuple[int, int]:
    """Line and column of the character at ``offset``, both from 1."""
    return sql.count("\n", 0, offset) + 1, offset - sql.rfind("\n", 0, offset)


def _server_report(error: ServerError) -> list[str]:
    report = [f"{error.sqlstate}: {error.message or error}"]
    for name, value in (
        ("detail", error.detail),
        ("hint", error.hint),
        ("context", error.context),
    ):
        if value:
            report.append(f"{name}: {value}")
    return report


def _where(
    statements: list[Statement], suspects: list[Statement], place: tuple[int, int] | None
) -> str:
    if len(suspects) > _MAX_LISTED:
        return f" at one of {len(suspects)} statements"
    ordinals = " or ".join(str(statement.ordinal) for statement in suspects)
    parts = [f"statement {ordinals} of {len(statements)}"] if suspects else []
    if place:
        parts.append(f"line {place[0]}, column {place[1]}")
    elif len(suspects) == 1:
        parts.append(f"line {suspects[0].line}")
    known = place or len(statements) == 1
    at = " at " if known else ", probably at "
    return at + ", ".join(parts) if parts else ""


def _suspects(
    statements: list[Statement], offset: int | None, error: ServerError
) -> list[Statement]:
    if offset is not None:
        return [s for s in statements if s.start <= offset][-1:]
    suspects = _by_command(statements, error) or statements
    suspects = _by_kind(suspects, error) or suspects
    return _by_names(suspects, error)


def _by_command(statements: list[Statement], error: ServerError) -> list[Statement]:
    """Those with the command in, say, "VACUUM cannot run inside a transaction block"."""
    command, found, _ = (error.message or "").partition(" cannot ")
    words = command.split()
    if not found or command != command.upper():
        return statements
    return [s for s in statements if all(_mentions(s, word) for word in words)]


def _by_kind(statements: list[Statement], error: ServerError) -> list[Statement]:
    if "inline_code_block" in (error.context or ""):
        return [s for s in statements if s.text[:2].upper() == "DO"]
    state = error.sqlstate or ""
    if state in _DUPLICATE:
        return [s for s in statements if _CREATING_COMMAND.match(s.text)]
    if state == _DEPENDENTS:
        return [s for s in statements if _DROPPING_COMMAND.match(s.text)]
    if state.startswith(_INTEGRITY_CLASS):
        return [s for s in statements if _DATA_COMMAND.match(s.text)]
    return statements


def _by_names(statements: list[Statement], error: ServerError) -> list[Statement]:
    """Those that mention the most of the names in the error."""
    message = error.message or ""
    names = {*_QUOTED.findall(message), *_DROP_TARGET.findall(message)}
    names |= {n for n in (error.table_name, error.column_name, error.constraint_name) if n}
    created = error.sqlstate in _DUPLICATE
    scores = [sum(_mentions(s, name, only_created=created) for name in names) for s in statements]
    best = max(scores, default=0)
    return [s for s, score in zip(statements, scores, strict=True) if score == best]


def _mentions(statement: Statement, name: str, *, only_created: bool = False) -> bool:
    # What a statement creates is named before its details: CREATE INDEX i ON t, CREATE TABLE t (...
    text = _BEFORE_DETAILS.split(statement.text, 1)[0] if only_created else statement.text
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None
