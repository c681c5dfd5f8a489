"""The judges of others in their quick form, so that none is failed unseen: `make conform` runs all.

A judge that is not on this machine is skipped with the reason.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conform import JUDGES, PAGE
from external_tools import go_tool, printed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(960)]

CONFORMANCE = Path(__file__).parents[1] / "conformance"
# With the caches of Go and Maven cold a judge takes minutes to build.
PATIENCE = 900


@pytest.mark.parametrize("name", [judge.name for judge in JUDGES if judge.quick])
def test_the_judge_passes_every_case_of_its_quick_form(name: str) -> None:
    done = subprocess.run(
        [sys.executable, CONFORMANCE / "conform.py", "--quick", name],
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED ")]
    if skipped:
        pytest.skip(skipped[0].removeprefix("SKIPPED "))


def test_the_messages_of_the_judged_services_are_generated_from_the_pinned_protos(
    tmp_path: Path,
) -> None:
    go_tool("connectconformance")
    printed(CONFORMANCE / "tools/fetch_java_client.py")
    subprocess.run([sys.executable, CONFORMANCE / "tools/protos.py", tmp_path], check=True)
    checked_in = CONFORMANCE / "judge_protos"
    for made in sorted((tmp_path / "judge_protos").iterdir()):
        assert made.read_text() == (checked_in / made.name).read_text(), made.name


def test_the_page_has_a_row_for_every_judge() -> None:
    page = PAGE.read_text()
    for judge in JUDGES:
        assert f"| {judge.title} | {judge.source} |" in page


def test_the_page_has_the_text_that_it_is_made_of() -> None:
    page = PAGE.read_text()
    for part in re.split(r"<!-- \w+ -->", (CONFORMANCE / "page.md").read_text()):
        assert part.strip() in page
