"""Jaeger as a process of its own, the spans it holds, and a trace as a tree of text.

`running_jaeger` listens for OTLP in both forms and keeps spans in memory; `Jaeger.trace` asks its
query API, as its own pages do. `tree` prints whatever spans it is given, from any store. Used by
``test_traces``.
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
class Stored:
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
    """A running one: where spans are sent, in both forms, and where they are asked for."""

    grpc: str
    http: str
    query: str

    def trace(self, trace_id: str) -> list[Stored]:
        """What it holds of a trace; nothing when it knows none."""
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
    """A Jaeger that answers. *Resources*: its process, until the block ends."""
    ports = {name: free_port() for name in ("grpc", "http", "query", "query_grpc")}
    config = folder / "jaeger.yaml"
    config.write_text(_CONFIG.format(**ports))
    query = f"http://127.0.0.1:{ports['query']}"
    with (folder / "jaeger.log").open("wb") as log:
        process = subprocess.Popen([binary, "--config", str(config)], stdout=log, stderr=log)
    try:
        give_up = time.monotonic() + PATIENCE
        while not _answers(query):
            over = process.poll() is not None or time.monotonic() > give_up
            assert not over, (folder / "jaeger.log").read_text()[-2000:]
            time.sleep(0.1)
        yield Jaeger(
            f"grpc://127.0.0.1:{ports['grpc']}", f"http://127.0.0.1:{ports['http']}", query
        )
    finally:
        process.terminate()
        process.wait(PATIENCE)


def tree(spans: Sequence[Stored]) -> str:
    """The trace, one line a span, each below its parent: when it began, how long it took, whose."""
    known = {span.id for span in spans}
    first = min(span.started_at for span in spans)
    lines = [f"{'began':>10} {'took':>10}  {'service':<18} span"]

    def add(span: Stored, depth: int) -> None:
        rows = span.attributes.get("db.response.returned_rows")
        told = "" if rows is None else f"  ({rows} row{'' if rows == 1 else 's'})"
        lines.append(
            f"{(span.started_at - first) / 1000:7.1f} ms {span.took / 1000:7.1f} ms"
            f"  {span.service:<18} {'  ' * depth}{span.name}{told}"
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


def _stored(span: dict[str, Any], processes: dict[str, Any]) -> Stored:
    parents = [each["spanID"] for each in span["references"] if each["refType"] == "CHILD_OF"]
    return Stored(
        processes[span["processID"]]["serviceName"],
        span["operationName"],
        span["spanID"],
        parents[0] if parents else "",
        span["startTime"],
        span["duration"],
        {tag["key"]: tag["value"] for tag in span["tags"]},
    )
