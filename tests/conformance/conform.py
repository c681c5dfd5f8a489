"""Runs all judges, prints what each found, and writes docs/conformance.md: ``make conform``.

The exit code is 1 when a case fails that is no known exception, or an exception passes; 0 otherwise.
A judge whose program is not on this machine is skipped, with the reason; the page is only written by
a run in which every judge judged. ``--quick``: a selection that takes a minute; ``NAME ...``: these
judges only; neither writes the page.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import client_judge
import connect_judge
import h2spec_judge
import interop_judge
from judging import HERE, ROOT, Judge, Skipped, Verdict

JUDGES: Final = (
    *h2spec_judge.JUDGES,
    *interop_judge.JUDGES,
    *connect_judge.JUDGES,
    *client_judge.JUDGES,
)
PAGE: Final = ROOT / "docs/conformance.md"
_TEXT: Final = HERE / "page.md"
_TABLE: Final = "<!-- table -->"
_EXCEPTIONS: Final = "<!-- exceptions -->"
_SHOWN: Final = 20


@dataclass(frozen=True)
class Row:
    """What a judge found, or why it was skipped."""

    judge: Judge
    verdict: Verdict | None
    skipped: str = ""

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """Judge, version, cases, passed, exceptions."""
        if self.verdict is None:
            return self.judge.title, self.judge.source, "skipped", "", ""
        found = self.verdict
        return (
            self.judge.title, self.judge.source, str(found.cases), str(found.passed),
            str(len(found.exceptions)) if found.exceptions else "none",
        )  # fmt: skip


HEADS: Final = ("judge", "version", "cases", "passed", "exceptions")


def main(arguments: Sequence[str]) -> int:
    """Run the judges; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("names", nargs="*", choices=[[], *(judge.name for judge in JUDGES)])
    chosen = parser.parse_args(arguments)
    rows = [
        _judged(judge, quick=chosen.quick)
        for judge in JUDGES
        if (judge.name in chosen.names or not chosen.names) and (judge.quick or not chosen.quick)
    ]
    _say("")
    for line in _columns([HEADS, *(row.cells for row in rows)]):
        _say(line)
    failed = [row for row in rows if row.verdict and row.verdict.problems]
    skipped = [row for row in rows if row.skipped]
    if not (chosen.quick or chosen.names or failed or skipped):
        PAGE.write_text(page(rows))
        _say(f"\nwritten: {PAGE.relative_to(ROOT)}")
    return 1 if failed else 0


def _judged(judge: Judge, *, quick: bool) -> Row:
    started = time.monotonic()
    try:
        verdict = judge.run(quick)
    except Skipped as exc:
        _say(f"SKIPPED {judge.title}: {exc}")
        return Row(judge, None, str(exc))
    took = time.monotonic() - started
    _say(f"{judge.title}: {verdict.passed} of {verdict.cases} passed, {took:.0f} s")
    for name, text in list(verdict.problems.items())[:_SHOWN]:
        _say(f"FAILED {judge.name}: {name}: {text}")
    if len(verdict.problems) > _SHOWN:
        _say(f"… and {len(verdict.problems) - _SHOWN} more")
    return Row(judge, verdict)


def _columns(table: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def page(rows: Sequence[Row]) -> str:
    """The text of docs/conformance.md."""
    lines = [f"| {' | '.join(HEADS)} |", "|---|---|---:|---:|---|"]
    lines += [f"| {' | '.join(row.cells)} |" for row in rows]
    reasons = [
        f"- {row.judge.title}, `{case}`: {reason}"
        for row in rows
        if row.verdict
        for case, reason in row.verdict.exceptions.items()
    ]
    exceptions = ["## Exceptions", "", *reasons] if reasons else ["No case is excepted."]
    text = _TEXT.read_text().replace(_TABLE, "\n".join(lines))
    return text.replace(_EXCEPTIONS, "\n".join(exceptions))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
