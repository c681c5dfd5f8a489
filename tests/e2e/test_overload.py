"""The service under overload: probes are answered, writes preferred, the rest refused with 503."""

import json
import resource
import time
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from load import Load, Plan, Result
from servers import cpu_seconds
from service_process import ServiceProcess, running_service

CLIENTS = 1000
OVERLOAD = 5.0  # seconds
GOODPUT = 0.2  # good answers for each CPU second, over those at the peak
GROWTH = 64.0  # MiB

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def ask(service: ServiceProcess, path: str, body: object = None) -> tuple[int, str | None, bytes]:
    """One request, on a connection of its own: status, Retry-After, body."""
    request = urllib.request.Request(  # noqa: S310 - our own service
        service.url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {service.token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.status, answer.headers["retry-after"], answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers["retry-after"], refused.read()


def reads(service: ServiceProcess, connections: int, seconds: float = 0) -> Plan:
    return Plan(
        port=int(service.url.rpartition(":")[2]),
        targets=["/api/v1/records?limit=100"],
        connections=connections,
        seconds=seconds,
        headers=[f"Authorization: Bearer {service.token}"],
    )


@dataclass(frozen=True)
class Peak:
    """Reads a second that this machine can do, and CPU seconds of the service for each."""

    rate: float
    cost: float


def peak_of(service: ServiceProcess) -> Peak:
    """With few enough at once that none is refused."""
    before = cpu_seconds([service.process.pid])
    result = Load(reads(service, 12, 1.0)).run()
    assert result.errors == 0
    used = cpu_seconds([service.process.pid]) - before
    return Peak(result.requests / result.seconds, used / result.requests)


def memory(pid: int) -> float:
    """Resident memory in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@dataclass
class Witness:
    """A client beside the load: a probe and a write at a time. ``most``: MiB that it has seen."""

    service: ServiceProcess
    probed: list[int] = field(default_factory=list[int])
    written: list[tuple[int, str | None, bytes]] = field(
        default_factory=list[tuple[int, str | None, bytes]]
    )
    most: float = 0.0

    def look(self) -> None:
        self.probed.append(ask(self.service, "/health")[0])
        self.written.append(ask(self.service, "/api/v1/records", {"name": "under load"}))
        self.most = max(self.most, memory(self.service.process.pid))


def test_overloaded_it_answers_probes_prefers_writes_and_loses_nothing(tmp_path: Path) -> None:
    """By clients that are back as soon as they are refused; with the default limits of load shedding.

    The bars are ratios of what was measured just before, since others may use the machine.
    """
    with running_service(tmp_path / "data", APP_RATE_LIMIT="0") as service:
        pid, witness = service.process.pid, Witness(service)
        for number in range(100):
            assert ask(service, "/api/v1/records", {"name": f"before {number}"})[0] == 201
        peak = peak_of(service)
        grown_from = memory(pid)
        with ThreadPoolExecutor() as pool:
            before = cpu_seconds([pid])
            loaded: Future[Result] = pool.submit(Load(reads(service, CLIENTS, OVERLOAD)).run)
            while not loaded.done():
                witness.look()
            used = cpu_seconds([pid]) - before
        over = loaded.result()
        assert set(witness.probed) == {200}
        assert over.broken == over.unanswered == 0, "each is answered or refused"
        assert set(over.statuses) == {"503"}
        assert over.requests / used > GOODPUT / peak.cost, "refusing leaves the time to answer"
        queue = 1000 * CLIENTS / peak.rate  # ms that each would wait if none were refused
        assert over.p50 < queue / 2
        assert over.p99 < queue * 2
        assert witness.most < grown_from + GROWTH
        deadline = time.monotonic() + 20
        while Load(reads(service, 3, 0.2)).run().errors:
            assert time.monotonic() < deadline, "a moment later all are answered"
        statuses = [status for status, _, _ in witness.written]
        assert set(statuses) <= {201, 503}
        assert statuses.count(201) > statuses.count(503)
        for status, retry_after, _ in witness.written:
            assert (retry_after == "1") == (status == 503)
        for _, _, body in [each for each in witness.written if each[0] == 201]:
            assert ask(service, f"/api/v1/records/{json.loads(body)['id']}")[0] == 200
        log = service.log()
        assert '"msg":"limits"' in log
        assert "overloaded: some requests are refused" in log
