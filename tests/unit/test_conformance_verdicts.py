"""What makes a run of the judges a failure, and how their reports are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conform import Row, main, page
from connect_judge import read as read_connect
from connect_judge import reason_of
from h2spec_judge import read as read_h2spec
from judging import Judge, Verdict, weigh


@dataclass(frozen=True)
class Weighed:
    id: str
    cases: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict[str, str])
    listed: Mapping[str, str] = field(default_factory=dict[str, str])
    passed: int = 0
    problems: tuple[str, ...] = ()


WEIGHED = [
    Weighed("all-pass", ("a", "b"), passed=2),
    Weighed("one-fails", ("a", "b"), {"a": "no"}, passed=1, problems=("a",)),
    Weighed("one-fails-as-listed", ("a", "b"), {"a": "no"}, {"a": "why"}, passed=1),
    Weighed("a-listed-one-passes", ("a",), listed={"a": "why"}, problems=("a",)),
    Weighed("a-listed-one-was-not-run", ("a",), listed={"z": "why"}, passed=1),
    Weighed("nothing-was-run", (), problems=("nothing",), passed=-1),
]


@pytest.mark.parametrize("case", WEIGHED, ids=lambda case: case.id)
def test_what_fails_unlisted_and_what_passes_listed_is_a_problem(case: Weighed) -> None:
    verdict = weigh(case.cases, case.failed, case.listed)
    assert verdict.passed == case.passed
    assert tuple(verdict.problems) == case.problems


CONNECT = """\
INFO: Basic/TLS:true/unary/error failed (as expected):
\tgot nothing
FAILED: Basic/TLS:true/unary/success:
\texpecting 2 response messages
\tgot 1
FAILED: Basic/TLS:false/unary/success was expected to fail but did not

Total cases: 10
7 passed, 2 failed
"""


def test_the_report_of_the_conformance_suite_is_read() -> None:
    verdict = read_connect(CONNECT)
    assert verdict == Verdict(
        10,
        {
            "Basic/TLS:true/unary/success": "expecting 2 response messages | got 1",
            "Basic/TLS:false/unary/success": "it is listed as an exception, and passes",
        },
        {"Basic/TLS:true/unary/error": "listed"},
    )
    assert verdict.passed == 7
    with pytest.raises(RuntimeError, match="no such server"):
        read_connect("no such server")


@pytest.mark.parametrize(
    ("pattern", "case", "reason"),
    [
        ("**/unary/success", "Basic/TLS:true/unary/success", "why"),
        ("Basic/*/unary/success", "Basic/TLS:true/unary/success", "why"),
        ("Basic/*", "Basic/TLS:true/unary/success", "listed"),
        ("Basic/**", "Basic/TLS:true/unary/success", "why"),
    ],
)
def test_an_exceptions_pattern_gives_its_reason(pattern: str, case: str, reason: str) -> None:
    assert reason_of(case, {pattern: "why"}) == reason


def test_the_report_of_h2spec_is_read(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase package="http2/1" classname="Sends"></testcase>'
        '<testcase package="http2/1" classname="Sends"><error>a\nb</error></testcase>'
        "</testsuite></testsuites>"
    )
    names, failed = read_h2spec(report)
    assert names == ["http2/1: Sends", "http2/1: Sends (2)"]
    assert failed == {"http2/1: Sends (2)": "a | b"}


def test_the_page_lists_exceptions_with_their_reasons() -> None:
    judge = Judge("one", "A judge", lambda _: Verdict(2), "v1")
    text = page([Row(judge, Verdict(2, {}, {"a": "because"}))])
    assert "| A judge | v1 | 2 | 1 | 1 |" in text
    assert "- A judge, `a`: because" in text
    assert "No case is excepted." in page([Row(judge, Verdict(2))])


def test_an_unknown_judge_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nobody"])
    assert "nobody" in capsys.readouterr().err
