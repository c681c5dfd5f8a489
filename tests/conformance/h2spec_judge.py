"""h2spec: HTTP/2 frame by frame, against an ASGI app, in cleartext and over TLS, strict cases too.

The version is the newest that Go's module proxy has. Where later ones have corrected a case, or a
newer RFC has changed what is required, the case is an exception with that reason.
"""

import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from judging import Judge, Verdict, certificate, go_tool, go_version, started, weigh

_TIMEOUT: Final = 900.0
_PREFACE: Final = "http2/3.5: Sends invalid connection preface"
IN_CLEARTEXT: Final[Mapping[str, str]] = {
    _PREFACE: "the port speaks HTTP/1.1, too: bytes that are no preface are a malformed request of"
    " that, which is answered with 400 before the connection closes",
}


def read(report: Path) -> tuple[list[str], dict[str, str]]:
    """Names and failures; a name that comes twice in a section gets its number."""
    names: list[str] = []
    failed: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - of a program that we started
        name = f"{case.get('package')}: {case.get('classname')}"
        seen[name] += 1
        name = name if seen[name] == 1 else f"{name} ({seen[name]})"
        names.append(name)
        problem = next((child for child in case if child.tag in {"failure", "error"}), None)
        if problem is not None:
            failed[name] = (problem.text or "").strip().replace("\n", " | ")
    return names, failed


def _run(*, tls: bool) -> Verdict:
    binary = go_tool("h2spec")
    with tempfile.TemporaryDirectory() as made, certificate() as (cert, key, _):
        report = Path(made, "report.xml")
        files = ("--tls", cert, key) if tls else ()
        with started("asgi_target", *files) as target:
            done = subprocess.run(
                [
                    binary, "--port", str(target.port), "--strict", "--timeout", "2",
                    "--junit-report", report, *(["--tls", "--insecure"] if tls else []),
                ],
                capture_output=True, text=True, check=False, timeout=_TIMEOUT,
            )  # fmt: skip
        if not report.exists():
            raise RuntimeError(f"h2spec: {done.stdout}{done.stderr}")
        names, failed = read(report)
    return weigh(names, failed, {} if tls else IN_CLEARTEXT)


_SOURCE: Final = f"{go_version('h2spec')}, strict"
JUDGES: Final = (
    Judge(
        "h2spec", "h2spec, cleartext", lambda _: _run(tls=False), _SOURCE
    ),
    Judge(
        "h2spec-tls", "h2spec, TLS", lambda _: _run(tls=True), _SOURCE,
    ),
)  # fmt: skip
