"""Calls a constant method over HTTP/2 many times, and watches the server's memory: ``make soak``.

``SOAK_CALLS``: how many, 10,000,000 otherwise. h2load calls grpc.testing.TestService/EmptyCall on
8 connections with 8 calls at once each, in ten parts with connections of their own, so that what a
connection keeps and what it leaves behind both show. The exit code is 1 when a call is not answered
(h2load does not read grpc-status: one call before and one after the load do), or when memory has
grown since the first part by more than 4 MiB: under half a byte a call.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from grpc import insecure_channel
from judge_protos.empty_pb2 import Empty
from judging import started

CALLS: Final = int(os.environ.get("SOAK_CALLS", "10000000"))
_METHOD: Final = "/grpc.testing.TestService/EmptyCall"
_PARTS: Final = 10
_CONNECTIONS: Final = 8
_STREAMS: Final = 8
_GROWTH: Final = 4 * 1024  # KiB
_EMPTY: Final = bytes(5)  # a message of no bytes, with its prefix
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Call, print a line for each part, and judge."""
    h2load = shutil.which("h2load")
    if h2load is None:
        sys.stderr.write("no h2load: install nghttp2-client\n")
        return 1
    each = max(CALLS // _PARTS, _CONNECTIONS * _STREAMS)
    sizes: list[int] = []
    with started("interop_server") as target, tempfile.TemporaryDirectory() as made:
        body = Path(made, "body")
        body.write_bytes(_EMPTY)
        _call_once(target.port)
        _say(f"{'calls':>12}{'calls/s':>10}{'CPU µs':>8}{'RSS MiB':>9}")
        for part in range(1, _PARTS + 1):
            began, used = time.monotonic(), _cpu(target.pid)
            _load(h2load, target.port, body, each)
            took, used = time.monotonic() - began, _cpu(target.pid) - used
            sizes.append(_resident(target.pid))
            _say(
                f"{part * each:>12,}{each / took:>10,.0f}{used / each * 1e6:>8.1f}"
                f"{sizes[-1] / 1024:>9.1f}"
            )
        _call_once(target.port)
    grown = sizes[-1] - sizes[0]
    _say(f"memory since the first part: {grown:+,} KiB (allowed: {_GROWTH:,} KiB)")
    return 1 if grown > _GROWTH else 0


def _call_once(port: int) -> None:
    """See that the method answers with OK, which h2load does not look at. Errors: RpcError."""
    with insecure_channel(f"127.0.0.1:{port}") as channel:
        channel.unary_unary(
            _METHOD,
            request_serializer=Empty.SerializeToString,
            response_deserializer=Empty.FromString,
        )(Empty(), timeout=30)


def _load(h2load: str, port: int, body: Path, calls: int) -> None:
    """Call so many times. Errors: SystemExit when a call is not answered."""
    done = subprocess.run(
        [
            h2load, "--requests", str(calls), "--clients", str(_CONNECTIONS),
            "--max-concurrent-streams", str(_STREAMS), "--data", body,
            "--header", "content-type: application/grpc", "--header", "te: trailers",
            f"http://127.0.0.1:{port}{_METHOD}",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    answered = re.search(r"status codes: (\d+) 2xx", done.stdout)
    if answered is None or int(answered[1]) != calls:
        raise SystemExit(f"calls were not answered:\n{done.stdout}{done.stderr}")


def _cpu(pid: int) -> float:
    """Seconds of processor time, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident(pid: int) -> int:
    """KiB of memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
