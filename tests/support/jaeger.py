"""Jaeger as a process, the spans it has stored, and a trace as text.

`running_jaeger` accepts OTLP over gRPC and HTTP and keeps spans in memory; `Jaeger.trace` uses the
query API of its user interface. `format_trace` prints spans of any store as a tree.
"""

import json
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from processes import free_port
from service_process import PATIENCE

_CONFIG = """
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry: {{metrics: {{level: none}}}}
extensions:
  jaeger_storage: {{backends: {{memory: {{memory: {{max_traces: 10000}}}}}}}}
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{query_grpc}"}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}"}}
      http: {{endpoint: "127.0.0.1:{http}"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"""


@dataclass(frozen=True)
class StoredSpan:
    """A span in a store. Times are in microseconds; ``parent``: "" for a root."""

    service: str
    name: str
    id: str
    parent: str
    started_at: float
    took: float
    attributes: dict[str, object]


@dataclass(frozen=True)
class Jaeger:
    """The addresses of a running one: of both receivers and of the query API."""

    grpc: str
    http: str
    query: str

    def trace(self, trace_id: str) -> list[StoredSpan]:
        """The spans of a trace; none when it is unknown."""
        try:
            with urlopen(f"{self.query}/api/traces/{trace_id}", timeout=10) as response:  # noqa: S310 - our own
                answer = json.load(response)
        except URLError:
            return []
        return [
            _stored(span, trace["processes"]) for trace in answer["data"] for span in trace["spans"]
        ]


@contextmanager
def running_jaeger(binary: str, folder: Path) -> Generator[Jaeger]:
    """A Jaeger that is ready. *Resources*: its process, until the end of the block."""
    ports = {name: free_port() for name in ("grpc", "http", "query", "query_grpc")}
    config = folder / "jaeger.yaml"
    config.write_text(_CONFIG.format(**ports))
    query = f"http://127.0.0.1:{ports['query']}"
    with (folder / "jaeger.log").open("wb") as log:
        process = subprocess.Popen([binary, "--config", str(config)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(query):
            over = process.poll() is not None or time.monotonic() > deadline
            assert not over, (folder / "jaeger.log").read_text()[-2000:]
            time.sleep(0.1)
        yield Jaeger(
            f"grpc://127.0.0.1:{ports['grpc']}", f"http://127.0.0.1:{ports['http']}", query
        )
    finally:
        process.terminate()
        process.wait(PATIENCE)


def format_trace(spans: Sequence[StoredSpan]) -> str:
    """The trace, a line for each span below its parent: start, duration, service, name."""
    known = {span.id for span in spans}
    first = min(span.started_at for span in spans)
    lines = [f"{'began':>10} {'took':>10}  {'service':<18} span"]

    def add(span: StoredSpan, depth: int) -> None:
        rows = span.attributes.get("db.response.returned_rows")
        rows_text = "" if rows is None else f"  ({rows} row{'' if rows == 1 else 's'})"
        lines.append(
            f"{(span.started_at - first) / 1000:7.1f} ms {span.took / 1000:7.1f} ms"
            f"  {span.service:<18} {'  ' * depth}{span.name}{rows_text}"
        )
        below = [each for each in spans if each.parent == span.id]
        for each in sorted(below, key=lambda child: child.started_at):
            add(each, depth + 1)

    roots = [span for span in spans if span.parent not in known]
    for root in sorted(roots, key=lambda span: span.started_at):
        add(root, 0)
    return "\n".join(lines)


def _answers(query: str) -> bool:
    try:
        with urlopen(f"{query}/api/services", timeout=5):  # noqa: S310 - our own
            return True
    except OSError:
        return False


def _stored(span: dict[str, Any], processes: dict[str, Any]) -> StoredSpan:
    parents = [each["spanID"] for each in span["references"] if each["refType"] == "CHILD_OF"]
    return StoredSpan(
        processes[span["processID"]]["serviceName"],
        span["operationName"],
        span["spanID"],
        parents[0] if parents else "",
        span["startTime"],
        span["duration"],
        {tag["key"]: tag["value"] for tag in span["tags"]},
    )
