"""The judges of others in their quick form, so that none is failed unseen: `make conform` runs all.

A judge that is not on this machine is skipped with the reason.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from conform import JUDGES, PAGE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(960)]

RUN = Path(__file__).parents[1] / "conformance/conform.py"
# With the caches of Go and Maven cold a judge takes minutes to build.
PATIENCE = 900


@pytest.mark.parametrize("name", [judge.name for judge in JUDGES if judge.quick])
def test_the_judge_passes_every_case_of_its_quick_form(name: str) -> None:
    done = subprocess.run(
        [sys.executable, RUN, "--quick", name],
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED ")]
    if skipped:
        pytest.skip(skipped[0].removeprefix("SKIPPED "))


def test_the_page_has_a_row_for_every_judge() -> None:
    page = PAGE.read_text()
    for judge in JUDGES:
        assert f"| {judge.title} | {judge.source} |" in page
