"""gRPC's interop clients, Go's and Java's, against the interop service; each case is a process.

Java's, on Netty and on OkHttp, knows the cases of compression, which Go's does not. It trusts no
certificate of ours, so TLS is Go's to judge. Left out: what belongs to a cloud (ALTS, OAuth), to
load reports (ORCA), and ``cacheable_unary``, which is of no specification.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from judging import (
    JAVA_CLIENT,
    Judge,
    Skipped,
    Verdict,
    certificate,
    go_tool,
    go_version,
    java_version,
    run_case,
    started,
    tool_path,
    weigh,
)

CASES: Final = (
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
    "pick_first_unary",
    "rpc_soak",
    "channel_soak",
)
COMPRESSED: Final = (
    "client_compressed_unary",
    "server_compressed_unary",
    "client_compressed_streaming",
    "server_compressed_streaming",
)
ONLY_JAVA: Final = (*COMPRESSED, "very_large_request")
EXCEPTIONS: Final[Mapping[str, str]] = {}
_TIMEOUT: Final = 120.0
# The quick form leaves out the soaks, and Java's virtual machine starts for compression only.
_SOAKS: Final = ("rpc_soak", "channel_soak")
_ITERATIONS: Final = 500

Command = Callable[[str, int], Sequence[str | Path]]


def _judge(cases: Sequence[str], port: int, command: Command) -> Verdict:
    def judged(case: str) -> str:
        return run_case(command(case, port), _TIMEOUT)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(judged, cases)
        failed = {case: text for case, text in zip(cases, found, strict=True) if text}
    return weigh(cases, failed, EXCEPTIONS)


def _go(*, tls: bool, quick: bool) -> Verdict:
    client = go_tool("grpc-interop")
    cases = [case for case in CASES if not quick or case not in _SOAKS]
    with certificate() as (cert, key, authority):
        trust = ("-use_tls", "-use_test_ca", "-ca_file", authority) if tls else ()

        def command(case: str, port: int) -> Sequence[str | Path]:
            return (
                client, "-server_host", "127.0.0.1", "-server_port", str(port), "-test_case", case,
                "-soak_iterations", str(_ITERATIONS), "-soak_num_threads", "5",
                "-soak_overall_timeout_seconds", "100",
                "-soak_per_iteration_max_acceptable_latency_ms", "10000", *trust,
            )  # fmt: skip

        with started("interop_server", *(("--tls", cert, key) if tls else ())) as target:
            return _judge(cases, target.port, command)


def _java(*, okhttp: bool, quick: bool) -> Verdict:
    jars = tool_path(JAVA_CLIENT)
    java = shutil.which("java")
    if java is None:
        raise Skipped("no grpc-java: Java is not installed")
    cases = COMPRESSED if quick else (*CASES, *ONLY_JAVA)

    def command(case: str, port: int) -> Sequence[str | Path]:
        return (
            java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{jars}/*",
            "io.grpc.testing.integration.TestServiceClient",
            "--server_host=127.0.0.1", f"--server_port={port}", f"--test_case={case}",
            "--use_tls=false", f"--use_okhttp={str(okhttp).lower()}",
            f"--soak_iterations={_ITERATIONS}", "--soak_num_threads=5",
            "--soak_overall_timeout_seconds=100",
            "--soak_per_iteration_max_acceptable_latency_ms=10000",
        )  # fmt: skip

    with started("interop_server") as target:
        return _judge(cases, target.port, command)


_GO: Final = f"grpc-go {go_version('grpc-interop')}"
_JAVA: Final = f"grpc-java {java_version()}"
JUDGES: Final = (
    Judge(
        "interop-go", "gRPC interop, Go's client, cleartext",
        lambda quick: _go(tls=False, quick=quick), _GO,
    ),
    Judge(
        "interop-go-tls", "gRPC interop, Go's client, TLS",
        lambda quick: _go(tls=True, quick=quick), _GO,
    ),
    Judge(
        "interop-java", "gRPC interop, Java's client on Netty",
        lambda quick: _java(okhttp=False, quick=quick), _JAVA,
    ),
    Judge(
        "interop-okhttp", "gRPC interop, Java's client on OkHttp",
        lambda quick: _java(okhttp=True, quick=quick), _JAVA, quick=False,
    ),
)  # fmt: skip
