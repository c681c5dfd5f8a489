"""Runs the trials of all faults, prints how each row fared, and writes docs/faults.md: ``make faults``.

The exit code is 1 when a trial fails of a row that is not listed as open; 0 otherwise. A trial that
this machine cannot make (no root, no Java) is skipped with its reason, which the page shows. ``NAME
...``: these rows only, or the rows of these groups; the page is only written by a run of all. The
trials run in their full form, which takes the better part of an hour; ``--quick``: in the form in
which ``make test`` runs them, too.

A trial tells its figure by pytest's ``record_property("figure", text)``.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from fault_rows import GROUPS, ROWS, Row

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs/faults.md"
_TEXT: Final = Path(__file__).with_name("page.md")
_TABLE: Final = "<!-- table -->"
_FULL: Final = ("BANK_TEST", "ORDERS_TEST", "ROLLING_TEST", "FAULTS_TEST")


@dataclass
class Outcome:
    """What the tests of one trial said: a trial is a function, a test is one set of parameters."""

    passed: int = 0
    failed: int = 0
    skipped: list[str] = field(default_factory=list[str])
    figures: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    def add(self, report: pytest.TestReport) -> None:
        """Count a report of the call, or of a set-up that did not get so far."""
        self.seconds += report.duration
        if report.failed:
            self.failed += 1
        elif report.skipped:
            self.skipped.append(_reason(report))
        elif report.when == "call":
            self.passed += 1
            self.figures += [
                str(value) for name, value in report.user_properties if name == "figure"
            ]


def _reason(report: pytest.TestReport) -> str:
    longrepr = report.longrepr
    text = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")


class Trials:
    """A plugin of pytest: collects the outcome of each trial and tells when a row is through."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self.outcomes: dict[str, Outcome] = {
            trial: Outcome() for row in rows for trial in row.trials
        }
        self._left: dict[str, int] = {}
        self._told: set[str] = set()
        self._started = time.monotonic()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests of each trial."""
        for item in session.items:
            trial = trial_of(item.nodeid)
            self._left[trial] = self._left.get(trial, 0) + 1

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str]:
        """No dots between the rows."""
        return report.outcome, "", ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what a test said; tell the rows that this was the last of."""
        trial = trial_of(report.nodeid)
        if trial not in self.outcomes:
            return
        self.outcomes[trial].add(report)
        if report.when == "teardown":
            self._left[trial] -= 1
            for row in self._rows:
                if row.id not in self._told and not any(map(self._left.get, row.trials)):
                    self._told.add(row.id)
                    took = time.monotonic() - self._started
                    verdict = verdict_of(row, self.outcomes)
                    _say(f"{took:6.0f} s  {row.id}: {verdict.figure} {verdict.holds}".rstrip())


def trial_of(node: str) -> str:
    """The trial that a test belongs to: its node id without parameters."""
    return node.partition("[")[0]


@dataclass(frozen=True)
class Verdict:
    """What the page says of a row."""

    figure: str
    holds: str
    failed: bool = False


def verdict_of(row: Row, outcomes: Mapping[str, Outcome]) -> Verdict:
    """Whether a row holds, with its figures or else the number of tests."""
    found = [outcomes[trial] for trial in row.trials]
    passed = sum(each.passed for each in found)
    skipped = list(dict.fromkeys(reason for each in found for reason in each.skipped))
    figures = list(dict.fromkeys(text for each in found for text in each.figures))
    figure = "; ".join(figures) or (f"{passed} test{'s' * (passed != 1)}" if passed else "")
    if row.open:
        return Verdict(figure, f"no: {row.open}")
    if any(each.failed for each in found):
        return Verdict(figure, "no", failed=True)
    if not passed:
        return Verdict("", f"not tried: {'; '.join(skipped) or 'no test ran'}", failed=not skipped)
    return Verdict(figure, f"yes; in part not tried: {'; '.join(skipped)}" if skipped else "yes")


def page(outcomes: Mapping[str, Outcome]) -> str:
    """The text of docs/faults.md."""
    lines: list[str] = []
    for group, rows in GROUPS.items():
        lines += [f"## {group}", "", "| fault | promise | figure | holds |", "|---|---|---|---|"]
        for row in rows:
            verdict = verdict_of(row, outcomes)
            cells = (row.fault, row.promise, verdict.figure, verdict.holds)
            lines.append(f"| {' | '.join(_cell(each) for each in cells)} |")
        lines.append("")
    return _TEXT.read_text().replace(_TABLE, "\n".join(lines).strip())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: Sequence[str]) -> int:
    """Run the trials; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true", help="print the rows and run nothing")
    parser.add_argument("names", nargs="*", help="rows or groups")
    chosen = parser.parse_args(arguments)
    rows = list(chosen_rows(chosen.names))
    if chosen.list:
        for row in rows:
            _say(f"{row.id}: {row.fault}: {row.promise}")
        return 0
    if not chosen.quick:
        os.environ.update(dict.fromkeys(_FULL, "full"), KAFKA_TESTS="1")
    trials = Trials(rows)
    os.chdir(ROOT)
    flags = ["-q", "--no-header", "-p", "no:cacheprovider", "--show-capture=log", "-rN"]
    pytest.main([*flags, *trials.outcomes], plugins=[trials])
    verdicts = [verdict_of(row, trials.outcomes) for row in rows]
    failed = [row.id for row, verdict in zip(rows, verdicts, strict=True) if verdict.failed]
    held = sum(verdict.holds.startswith("yes") for verdict in verdicts)
    _say(f"\n{held} of {len(rows)} rows hold" + "".join(f"\nFAILED {name}" for name in failed))
    if len(rows) == len(ROWS) and not chosen.quick:
        PAGE.write_text(page(trials.outcomes))
        _say(f"written: {PAGE.relative_to(ROOT)}")
    return 1 if failed else 0


def chosen_rows(names: Sequence[str]) -> Iterator[Row]:
    """The rows of these names, or all without any. Errors: SystemExit for an unknown name."""
    known = {row.id for row in ROWS} | {*GROUPS}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"no row and no group is named {', '.join(unknown)}: --list shows the rows")
    for group, rows in GROUPS.items():
        for row in rows:
            if not names or row.id in names or group in names:
                yield row


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
