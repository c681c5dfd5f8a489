"""The service under overload: probes are answered, writes preferred, the rest refused with 503."""

import json
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from load import Load, Plan
from open_load import OpenLoad, OpenPlan, OpenResult, Phase
from service_process import ServiceProcess, running_service

TIMES = 4  # the offered load, as a multiple of the measured peak

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


def peak_of(service: ServiceProcess) -> float:
    """Reads a second that this machine can do, with few enough at once that none is refused."""
    result = Load(reads(service, 3, 1.0)).run()
    assert result.errors == 0
    return result.requests / result.seconds


def test_overloaded_it_answers_probes_prefers_writes_and_loses_nothing(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", APP_MAX_IN_FLIGHT="6") as service:
        for number in range(100):
            assert ask(service, "/api/v1/records", {"name": f"before {number}"})[0] == 201
        phases = [Phase(TIMES * peak_of(service), 2), Phase(20, 3), Phase(20, 2)]
        load = OpenLoad(OpenPlan(reads(service, 8), phases, patience=20.0))
        with ThreadPoolExecutor() as pool:
            loaded: Future[OpenResult] = pool.submit(load.run)
            statuses: list[int] = []
            written: list[tuple[int, str | None, bytes]] = []
            probed: list[int] = []
            while not loaded.done() and len(probed) < 200:
                probed.append(ask(service, "/health")[0])
                written.append(ask(service, "/api/v1/records", {"name": "under load"}))
                statuses.append(written[-1][0])
        over, _, after = loaded.result().phases
        assert set(probed) == {200}
        assert over["good"] > 0
        assert over["refused"] > over["offered"] / 5
        assert over["failed"] == over["given_up"] == 0, "each is answered or refused"
        assert after["good"] == after["offered"], "a moment later all are answered"
        assert set(statuses) <= {201, 503}
        assert statuses.count(201) > statuses.count(503)
        for status, retry_after, _ in written:
            assert (retry_after == "1") == (status == 503)
        for _, _, body in [each for each in written if each[0] == 201]:
            assert ask(service, f"/api/v1/records/{json.loads(body)['id']}")[0] == 200
        log = service.log()
        assert '"msg":"limits"' in log
        assert '"max_in_flight":6' in log
        assert "overloaded: some requests are refused" in log
