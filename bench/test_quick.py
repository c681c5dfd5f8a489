"""Every bench in its quick form, so that none of them rots unseen: `make bench-quick`.

Each does all that its full form does, in small numbers: it starts every peer, compares answers,
loads, checks what was written, and prints its report. None may touch ``bench/results``, whose
figures come from a quiet machine. A peer whose toolchain is absent is skipped, and the reason is
that of the test; one that could start and does not fails it. Nothing here judges a speed.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# They read a plan from stdin or take a database's address: the others run them.
RUN_BY_OTHERS = frozenset({"coalesce", "load", "open_load"})
SCRIPTS = sorted(
    path.stem
    for path in HERE.glob("*.py")
    if '\nif __name__ == "__main__":' in path.read_text() and path.stem not in RUN_BY_OTHERS
)
# With Go's caches cold a peer and the load generator take minutes to build.
PATIENCE = 900

pytestmark = pytest.mark.timeout(PATIENCE + 60)


def results() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (HERE / "results").iterdir()}


def run(script: str) -> tuple[int, str]:
    """Its exit code and all that it said; nothing of it is left running."""
    process = subprocess.Popen(
        [sys.executable, HERE / f"{script}.py", "--quick"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    except BaseException:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
        raise
    return process.returncode, said


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_bench_does_in_seconds_all_that_it_does(script: str) -> None:
    before = results()
    code, said = run(script)
    assert code == 0, said[-5000:]
    assert results() == before
    skipped = [line for line in said.splitlines() if line.startswith("SKIPPED ")]
    if skipped:
        pytest.skip(f"{script} ran, but for this: {'; '.join(skipped)}")
