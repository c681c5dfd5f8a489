"""Spans of statements: what is done to which tables, and how many rows, never a value.

The name is OpenTelemetry's ``db.query.summary``, derived from the statement ("INSERT outbox",
"SELECT records") and cached. Rejected: names given by hand, in a comment or an argument, which must
be kept equal to every statement; and the statement's text, which is in the source. Statements are
constants (``LiteralString``) and values are sent apart from them, so a name holds no secret.
"""

import re
from functools import lru_cache
from typing import Final

from paceline.trace import Span, SpanKind, recording_span

_CHANGES: Final = re.compile(
    r"\b(insert)\s+into\s+([\w.]+)|(?<!for )(?<!key )(?<!do )\b(update)\s+([\w.]+)"
    r"|\b(delete)\s+from\s+([\w.]+)|\b(merge)\s+into\s+([\w.]+)",
    re.IGNORECASE,
)
_SOURCE: Final = re.compile(r"\b(?:from|join)\s+(?!pg_)([a-z_][\w.]*)\b(?!\s*\()", re.IGNORECASE)
_WORD: Final = re.compile(r"\s*(\w+)")
_MOST_CHANGES: Final = 3
_CLIENT: Final = SpanKind.CLIENT  # looking a member up runs Python code, before 3.12


def start_span(sql: str) -> Span | None:
    """The span of a statement that is about to be sent; None when nothing is recorded."""
    parent = recording_span()
    if parent is None:
        return None
    summary = summary_of(sql)
    return parent.child(
        summary, _CLIENT, {"db.system.name": "postgresql", "db.query.summary": summary}
    )


def end_span(span: Span, rows: int | str | None) -> None:
    """End it after a success; ``rows``: their number, a command tag that ends in it, or None."""
    if isinstance(rows, str):
        number = rows.rpartition(" ")[2]
        rows = int(number) if number.isdigit() else None
    if rows is not None:
        span.attributes["db.response.returned_rows"] = rows
    span.end()


def fail_span(span: Span, exc: BaseException, sqlstate: str | None) -> None:
    """End it after a failure or an interruption."""
    span.fail(exc)
    if sqlstate is not None:
        span.attributes["db.response.status_code"] = sqlstate
    span.end()


@lru_cache(maxsize=1024)
def summary_of(sql: str) -> str:
    """A statement in short: each change with its table, or else the first table that is read."""
    changes = [" ".join(part for part in found if part) for found in _CHANGES.findall(sql)]
    if changes:
        words = (change.split(" ") for change in dict.fromkeys(changes))
        return " ".join([f"{verb.upper()} {table}" for verb, table in words][:_MOST_CHANGES])
    first = _WORD.match(sql)
    verb = first[1].upper() if first else "?"
    source = _SOURCE.search(sql)
    return f"{'SELECT' if verb == 'WITH' else verb} {source[1]}" if source else verb
