"""connectconformance: gRPC, gRPC-Web and Connect, each with all that our server offers of it.

It starts our program for each combination of protocol, HTTP version and TLS, calls it with Connect's
client and, for gRPC, with grpc-go's as well, and compares answers, metadata, errors and timing.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from judging import PROGRAMS, Judge, Verdict, environment, go_tool, go_version

_TIMEOUT: Final = 1800.0
_SHARED: Final[Mapping[str, object]] = {
    "compressions": ["COMPRESSION_IDENTITY", "COMPRESSION_GZIP", "COMPRESSION_DEFLATE"],
    "supportsH2c": True,
    "supportsTls": True,
    "supportsTlsClientCerts": True,
    "supportsTrailers": True,
    "supportsMessageReceiveLimit": True,
}
GRPC: Final[Mapping[str, object]] = {
    **_SHARED,
    "versions": ["HTTP_VERSION_2"],
    "protocols": ["PROTOCOL_GRPC"],
    "codecs": ["CODEC_PROTO"],
}
GRPC_WEB: Final[Mapping[str, object]] = {
    **_SHARED,
    "versions": ["HTTP_VERSION_1", "HTTP_VERSION_2"],
    "protocols": ["PROTOCOL_GRPC_WEB"],
    "codecs": ["CODEC_PROTO"],
    "supportsHalfDuplexBidiOverHttp1": True,
}
CONNECT: Final[Mapping[str, object]] = {
    **_SHARED,
    "versions": ["HTTP_VERSION_1", "HTTP_VERSION_2"],
    "protocols": ["PROTOCOL_CONNECT"],
    "codecs": ["CODEC_PROTO", "CODEC_JSON"],
    "supportsHalfDuplexBidiOverHttp1": True,
    "supportsConnectGet": True,
}
EXCEPTIONS: Final[Mapping[str, str]] = {}
"""Patterns of cases that fail, as `--known-failing` takes them, with reasons."""

_TOTAL = re.compile(r"^Total cases: (\d+)$", re.MULTILINE)
_FAILED = re.compile(r"^FAILED: (.+):\n((?:\t.*\n?)*)", re.MULTILINE)
_STALE = re.compile(r"^FAILED: (.+) was expected to fail but did not$", re.MULTILINE)
_KNOWN = re.compile(r"^INFO: (.+) failed \(as expected\)", re.MULTILINE)


def read(said: str) -> Verdict:
    """The verdict that its output tells. Errors: RuntimeError when it tells none."""
    total = _TOTAL.search(said)
    if total is None:
        raise RuntimeError(f"connectconformance: {said[-2000:]}")
    problems = {name: text.strip().replace("\n\t", " | ") for name, text in _FAILED.findall(said)}
    problems |= dict.fromkeys(_STALE.findall(said), "it is listed as an exception, and passes")
    exceptions = {name: reason_of(name, EXCEPTIONS) for name in _KNOWN.findall(said)}
    return Verdict(int(total[1]), problems, exceptions)


def reason_of(case: str, exceptions: Mapping[str, str]) -> str:
    """The reason of the first pattern that fits, as connectconformance reads patterns."""
    for pattern, reason in exceptions.items():
        parts = re.split(r"(\*\*/?|\*)", pattern)
        matching = "".join(
            "(?:.*/)?" if part == "**/" else ".*" if part == "**" else "[^/]*" if part == "*"
            else re.escape(part)
            for part in parts
        )  # fmt: skip
        if re.fullmatch(matching, case):
            return reason
    return "listed"


def _run(features: Mapping[str, object]) -> Verdict:
    binary = go_tool("connectconformance")
    with tempfile.TemporaryDirectory() as made:
        configuration = Path(made, "features.yaml")
        configuration.write_text(json.dumps({"features": features}))
        done = subprocess.run(
            [
                binary, "--mode", "server", "--conf", configuration, "--max-servers", "2",
                *(word for pattern in EXCEPTIONS for word in ("--known-failing", pattern)),
                "--", sys.executable, PROGRAMS / "connect_server.py",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            check=False, timeout=_TIMEOUT, env=environment(),
        )  # fmt: skip
    verdict = read(done.stdout)
    if done.returncode and not verdict.problems:
        raise RuntimeError(f"connectconformance: {done.stdout[-2000:]}")
    return verdict


_SOURCE: Final = f"connectconformance {go_version('connectconformance')}"
JUDGES: Final = (
    Judge("connect-grpc", "Connect conformance, gRPC", lambda _: _run(GRPC), _SOURCE),
    Judge("connect-web", "Connect conformance, gRPC-Web", lambda _: _run(GRPC_WEB), _SOURCE),
    Judge("connect", "Connect conformance, Connect", lambda _: _run(CONNECT), _SOURCE),
)  # fmt: skip
