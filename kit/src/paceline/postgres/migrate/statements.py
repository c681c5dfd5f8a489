"""Splits an SQL text into statements: to tell of them, never for execution.

A file is always sent to the server whole, and the server alone decides where statements end. This
parser turns a position into "statement 3" and recognizes a file without any statement, so a rare
mistake costs a wrong number in a message and nothing else. It handles strings, quoted names,
dollar quotes, nested comments, parentheses and ``BEGIN ATOMIC`` bodies.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
      (?P<blank>   \s+ | --[^\n]* )
    | (?P<comment> /\* )
    | (?P<text>    (?: [eE]'(?:[^'\\]++|\\.|'')*+ | '(?:[^']++|'')*+ ) (?:'|\Z)
                 | "(?:[^"]++|"")*+ (?:"|\Z) )
    | (?P<dollar>  \$(?:[^\W\d]\w*)?\$ )
    | (?P<word>    [^\W\d][\w$]* )
    | (?P<number>  [\d$][\w$.]* )
    | (?P<mark>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_OWN_TRANSACTION = re.compile(
    r"(ABORT|BEGIN|CALL|COMMIT|DO|END|PREPARE|RELEASE|ROLLBACK|SAVEPOINT|START)\b", re.IGNORECASE
)
_OUTSIDE = re.compile(r"\b(CONCURRENTLY|VACUUM|DATABASE|TABLESPACE|SYSTEM)\b", re.IGNORECASE)
_HEADLINE = 100


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: its ordinal from 1, its text, its offset and its line from 1."""

    ordinal: int
    text: str
    start: int
    line: int

    @property
    def headline(self) -> str:
        """The first line, shortened to what fits a terminal."""
        first = self.text.split("\n", 1)[0].strip()
        return first if len(first) <= _HEADLINE else f"{first[: _HEADLINE - 1]}…"


def split(sql: str) -> list[Statement]:
    """The statements of ``sql``, without semicolons; blanks and comments do not count."""
    statements: list[Statement] = []
    counted, line = 0, 1
    for start, end in _spans(sql):
        line += sql.count("\n", counted, start)
        counted = start
        statements.append(Statement(len(statements) + 1, sql[start:end].rstrip(), start, line))
    return statements


def is_one_transaction(sql: str) -> bool:
    """Whether a file that failed has changed nothing: it neither ends nor avoids its transaction.

    In doubt False, so a wrong guess costs a repair by hand and nothing else.
    """
    return not any(
        _OWN_TRANSACTION.match(statement.text) or _OUTSIDE.search(statement.text)
        for statement in split(sql)
    )


def is_empty(sql: str) -> bool:
    """Whether there is no statement in ``sql`` at all."""
    return next(_spans(sql), None) is None


def _spans(sql: str) -> Iterator[tuple[int, int]]:
    start: int | None = None
    nesting = _Nesting()
    for kind, at, end in _tokens(sql):
        lexeme = sql[at:end]
        if lexeme == ";" and nesting.depth == 0:
            if start is not None:
                yield start, at
            start, nesting = None, _Nesting()
        elif kind not in {"blank", "comment"} and lexeme != ";":
            start = at if start is None else start
            nesting.add(kind, lexeme)
    if start is not None:
        yield start, len(sql)


class _Nesting:
    """The depth inside parentheses or a ``BEGIN ATOMIC ... END`` body."""

    def __init__(self) -> None:
        self._parentheses = 0
        self._blocks = 0
        self._last_word = ""

    @property
    def depth(self) -> int:
        return self._parentheses + self._blocks

    def add(self, kind: str | None, lexeme: str) -> None:
        if lexeme == "(":
            self._parentheses += 1
        elif lexeme == ")":
            self._parentheses = max(0, self._parentheses - 1)
        elif kind == "word":
            self._add_word(lexeme.lower())

    def _add_word(self, word: str) -> None:
        opens_body = word == "atomic" and self._last_word == "begin"
        if opens_body or (self._blocks and word == "case"):
            self._blocks += 1
        elif self._blocks and word == "end":
            self._blocks -= 1
        self._last_word = word


def _tokens(sql: str) -> Iterator[tuple[str | None, int, int]]:
    at = 0
    while match := _TOKEN.match(sql, at):
        end = match.end()
        if match.lastgroup == "comment":
            end = _comment_end(sql, end)
        elif match.lastgroup == "dollar":
            close = sql.find(match.group(), end)
            end = len(sql) if close < 0 else close + len(match.group())
        yield match.lastgroup, at, end
        at = end


def _comment_end(sql: str, at: int) -> int:
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, at):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)
