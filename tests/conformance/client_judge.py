"""The whole service with clients and proxies of others: the end-to-end tests, counted.

They are tests because they ask for more than a judge's exit code, and run with `make test`, too.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from judging import ROOT, Judge, Skipped, Verdict, weigh

FILES: Final = ("tests/e2e/test_grpc_tools.py", "tests/e2e/test_http2_clients.py")
_TIMEOUT: Final = 1200.0


def _run() -> Verdict:
    with tempfile.TemporaryDirectory() as made:
        report = Path(made, "report.xml")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", *FILES],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=_TIMEOUT,
        )  # fmt: skip
        if not report.exists():
            raise RuntimeError(f"pytest: {done.stdout}{done.stderr}")
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - our own pytest's
    missing = [child.get("message", "") for case in cases for child in case.iter("skipped")]
    if missing:
        raise Skipped("; ".join(sorted({*missing})))
    failed = {
        case.get("name", ""): child.get("message", "")
        for case in cases
        for child in case
        if child.tag in {"failure", "error"}
    }
    return weigh([case.get("name", "") for case in cases], failed, {})


JUDGES: Final = (
    Judge(
        "clients", "Clients and proxies, whole service", lambda _: _run(),
        "curl, h2load, grpcurl, ghz, grpc-js, grpcio, nginx", quick=False,
    ),
)  # fmt: skip
