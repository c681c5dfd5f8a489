"""A real Prometheus scrapes a real service: every query of dashboard and alerts has an answer."""

import json
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import grpc
import pytest
import records_pb2_grpc
from external_tools import go_tool
from metric_table import documented, exposed
from processes import free_port
from service_process import ServiceProcess, running_service

from myservice.proto.v1 import records_pb2
from paceline.metrics import merge_expositions

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DEPLOYMENTS = Path(__file__).parents[2] / "service/deployments"
RULES = DEPLOYMENTS / "prometheus/alerts.yaml"
DASHBOARD = json.loads((DEPLOYMENTS / "grafana/myservice.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if "targets" in panel]
PATIENCE = 60.0


def fetch(url: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:  # noqa: S310 - the test's own
        content: bytes = answer.read()
        return content.decode()


@dataclass(frozen=True, slots=True)
class Client:
    """Does a little of everything, over and over."""

    service: ServiceProcess

    def send(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        headers |= {
            "Authorization": f"Bearer {self.service.token}",
            "Content-Type": "application/json",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the test's own
            f"{self.service.url}{path}", data=data, method=method, headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the test's own
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as exc:
            return exc.code

    def until(self, over: threading.Event) -> None:
        record = self.send("POST", "/api/v1/records", {"name": "measured"})["id"]
        one, other = (self.send("POST", "/api/v1/accounts", {})["id"] for _ in range(2))
        self.send("POST", f"/api/v1/accounts/{one}/credits", {"amount": 10**9})
        channel = grpc.insecure_channel(self.service.grpc)
        listing = records_pb2_grpc.RecordServiceStub(channel).ListRecords
        bearer = (("authorization", f"Bearer {self.service.token}"),)
        while not over.is_set():
            self.send("GET", f"/api/v1/records/{record}")
            self.send("GET", "/api/v1/records?limit=1")
            self.send("GET", "/no/such/path")
            self.send("PUT", f"/api/v1/records/{record}", {"name": "changed"})
            self.send("GET", f"/api/v1/accounts/{one}")
            draft = {"from": one, "to": other, "amount": 1}
            order = self.send("POST", "/api/v1/orders", draft)
            self.send("GET", f"/api/v1/orders/{order['id']}")
            listing(records_pb2.ListRecordsRequest(), metadata=bearer)
            over.wait(0.05)
        channel.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    """A service in use, with everything that has metrics."""
    folder = tmp_path_factory.mktemp("measured") / "data"
    # Every request is traced, though there is no collector.
    traced = {"APP_OTEL_ENDPOINT": "http://127.0.0.1:1", "APP_TRACE_RATIO": "1"}
    with running_service(folder, APP_CACHE="true", **traced) as started:
        over = threading.Event()
        load = threading.Thread(target=Client(started).until, args=(over,))
        load.start()
        try:
            yield started
        finally:
            over.set()
            load.join()


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        answer = json.loads(fetch(f"{self.url}/api/v1/{path}?{query}"))
        assert answer["status"] == "success"
        return answer["data"]

    def numbers(self, expression: str) -> list[float]:
        """What the expression gives now; NaN is no number."""
        samples = self.ask("query", query=expression)["result"]
        numbers = [float(sample["value"][1]) for sample in samples]
        return [number for number in numbers if not isnan(number)]

    def until_answered(self, expression: str) -> None:
        until(lambda: bool(self.numbers(expression)), f"no data for {expression}")


def until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.2)


@contextmanager
def running(command: Sequence[str | Path], folder: Path) -> Generator["subprocess.Popen[bytes]"]:
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def prometheus(
    service: ServiceProcess, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Prometheus]:
    """The example's configuration, in more of a hurry and with our port; the rules as they are."""
    binary, folder = go_tool("prometheus", "--built"), tmp_path_factory.mktemp("prometheus")
    example = (DEPLOYMENTS / "prometheus/prometheus.yaml").read_text()
    faster = re.sub(r"_interval: \d+s", "_interval: 1s", example)
    config, target = folder / "prometheus.yaml", service.admin.removeprefix("http://")
    config.write_text(re.sub(r"127\.0\.0\.1:\d+", target, faster))
    shutil.copy(RULES, folder)
    url = f"127.0.0.1:{free_port()}"
    command = [
        binary, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url}", "--enable-feature=exemplar-storage",
    ]  # fmt: skip
    with running(command, folder) as process:
        server = Prometheus(f"http://{url}")

        def scraped() -> bool:
            assert process.poll() is None, (folder / "output").read_text()
            with suppress(OSError):
                return server.numbers('count_over_time(up{job="myservice"}[1m]) >= 3') != []
            return False

        until(scraped, "it never scraped")
        yield server


def expressions() -> list[tuple[str, str]]:
    return [
        (panel["title"], target["expr"])
        for panel in PANELS
        for target in panel["targets"]
    ]  # fmt: skip


@pytest.mark.parametrize(("title", "expression"), expressions())
def test_every_query_of_the_dashboard_has_an_answer(
    title: str, expression: str, prometheus: Prometheus
) -> None:
    for variable, value in (("$__rate_interval", "10s"), ("$job", ".*"), ("$instance", ".*")):
        expression = expression.replace(variable, value)
    assert "$" not in expression, title
    prometheus.until_answered(expression)


def test_every_rule_is_evaluated_and_what_it_compares_is_there(prometheus: Prometheus) -> None:
    groups = prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 10
    for rule in rules:
        # A comparison that gives 0 or 1 instead of nothing shows that both sides have data.
        expression = rule["query"]
        if rule["type"] == "alerting":
            expression = re.sub(r"([<>]=?|[!=]=)(?=\s*\d)", r"\1 bool", expression)
            assert "bool" in expression, rule["name"]
        prometheus.until_answered(expression)
    health = {
        rule["name"]: (rule["health"], rule.get("lastError", ""))
        for group in prometheus.ask("rules")["groups"]
        for rule in group["rules"]
    }
    assert set(health.values()) == {("ok", "")}, health


def test_a_request_leads_to_its_trace(prometheus: Prometheus, service: ServiceProcess) -> None:
    query = 'http_server_request_duration_seconds_bucket{http_route="/api/v1/records/{id}"}'
    now = time.time()

    def traces() -> list[str]:
        found = prometheus.ask(
            "query_exemplars", query=query, start=str(now - 60), end=str(time.time() + 1)
        )
        return [one["labels"]["trace_id"] for series in found for one in series["exemplars"]]

    until(lambda: bool(traces()), "no exemplars")
    assert all(f'"trace_id":"{trace}"' in service.log() for trace in traces()[:10])


def test_no_alert_fires_for_a_service_that_is_well(prometheus: Prometheus) -> None:
    firing = [
        alert["labels"]["alertname"]
        for alert in prometheus.ask("alerts")["alerts"]
        if alert["state"] == "firing"
    ]
    assert firing == []


def test_promtool_finds_no_fault_with_the_rules_or_the_configuration() -> None:
    tool = go_tool("promtool", "--built")
    configuration = DEPLOYMENTS / "prometheus/prometheus.yaml"
    for words in (("rules", str(RULES)), ("config", str(configuration))):
        done = subprocess.run([tool, "check", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_no_fault_with_what_is_exposed_alone_or_merged(
    service: ServiceProcess,
) -> None:
    tool = go_tool("promtool", "--built")
    text = fetch(f"{service.admin}/metrics")
    for exposition in (text, merge_expositions({"0": text, "1": text})):
        done = subprocess.run(
            [tool, "check", "metrics"],
            input=exposition,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_the_exposed_metrics_are_the_documented_ones(service: ServiceProcess) -> None:
    wanted = {row.name: row for row in documented()}

    def shown() -> dict[str, object]:
        return {row.name: row for row in exposed(fetch(f"{service.admin}/metrics"))}

    until(
        lambda: shown().keys() == wanted.keys(), f"not the same: {shown().keys() ^ wanted.keys()}"
    )
    assert shown() == wanted
