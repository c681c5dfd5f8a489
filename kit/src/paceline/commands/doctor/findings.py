"""What a check found, and a list of that as text or JSON.

A line says what was seen, also when all is well: an operator who compares two machines wants the
figures. Whatever is not well says how to mend it, on a line of its own.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from paceline.log import printable, printable_json


class Status(StrEnum):
    """As it should be; works, but not as it should in production; does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. ``mend`` is empty when there is nothing to do."""

    name: str
    status: Status
    saw: str
    mend: str = ""


def ok(name: str, saw: str) -> Finding:
    """All is well."""
    return Finding(name, Status.OK, saw)


def warn(name: str, saw: str, mend: str) -> Finding:
    """It works, and is likely to fail later."""
    return Finding(name, Status.WARN, saw, mend)


def fail(name: str, saw: str, mend: str) -> Finding:
    """It does not work."""
    return Finding(name, Status.FAIL, saw, mend)


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing failed; warnings are well enough."""
    return all(each.status is not Status.FAIL for each in findings)


def as_text(findings: Sequence[Finding]) -> str:
    """A line for each, what to do under it, and a summary."""
    width = max((len(each.name) for each in findings), default=0)
    lines: list[str] = []
    for each in findings:
        saw = printable(" ".join(each.saw.split()))
        lines.append(f"{each.status:4}  {each.name:{width}}  {saw}")
        if each.mend:
            lines.append(f"{'':4}  {'':{width}}  → {printable(each.mend)}")
    counts = {status: sum(each.status is status for each in findings) for status in Status}
    summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return "\n".join([*lines, "", summary]) + "\n"


def as_json(findings: Sequence[Finding]) -> str:
    """``{"healthy": …, "findings": [{"name", "status", "saw", "mend"}]}``."""
    found = {"healthy": healthy(findings), "findings": list(findings)}
    return printable_json(msgspec.json.format(msgspec.json.encode(found), indent=2).decode()) + "\n"
