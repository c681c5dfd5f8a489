"""The gRPC server with tools of others: grpcurl, ghz and the npm client, on a real service."""

import json
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from external_tools import go_tool, printed
from service_process import ServiceProcess, running_service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TOOLS = Path(__file__).parents[1] / "tools"
PROTO = Path(__file__).parents[2] / "service/api/proto/myservice/v1/records.proto"
RECORDS = "myservice.v1.RecordService"
MISSING = "0192f0a0-0000-7000-8000-00000000dead"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    with running_service(tmp_path_factory.mktemp("grpc") / "data") as started:
        yield started


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def grpcurl(
    service: ServiceProcess, *words: str, body: str | None = None
) -> "subprocess.CompletedProcess[str]":
    given = [] if body is None else ["-d", body]
    bearer = f"authorization: Bearer {service.token}"
    binary = go_tool("grpcurl")
    return run(binary, "-plaintext", "-H", bearer, *given, service.grpc, *words)


def test_grpcurl_lists_and_calls_by_reflection(service: ServiceProcess) -> None:
    listed = grpcurl(service, "list")
    assert listed.returncode == 0, listed.stderr
    assert {RECORDS, "myservice.v1.AccountService", "grpc.health.v1.Health"} <= set(
        listed.stdout.split()
    )
    body = '{"record": {"name": "by grpcurl", "metadata": {"k": "v"}, "data": "{}"}}'
    made = grpcurl(service, f"{RECORDS}/CreateRecord", body=body)
    assert made.returncode == 0, made.stderr
    record = json.loads(made.stdout)["record"]
    read = grpcurl(service, f"{RECORDS}/GetRecord", body=json.dumps({"id": record["id"]}))
    assert json.loads(read.stdout)["record"] == record
    health = grpcurl(service, "grpc.health.v1.Health/Check", body=json.dumps({"service": RECORDS}))
    assert json.loads(health.stdout) == {"status": "SERVING"}


@dataclass(frozen=True)
class Described:
    """What grpcurl says of a full name."""

    kind: str
    name: str
    says: str


DESCRIBED = [
    Described("service", RECORDS, "rpc GetRecord ( .myservice.v1.GetRecordRequest )"),
    Described("method", f"{RECORDS}.GetRecord", f"{RECORDS}.GetRecord is a method:"),
    Described("message", "myservice.v1.Record", "map<string, string> metadata"),
    Described("field", "myservice.v1.Record.id", "is a field:"),
    Described("oneof", "myservice.v1.UpdateRecordRequest._expected_version", "is a one-of:"),
    Described("enum", "myservice.v1.RecordUpdate.Kind", "enum Kind {"),
    Described("value", "myservice.v1.RecordUpdate.CREATED", "is an enum value:"),
    Described("imported message", "google.protobuf.Timestamp", "int64 seconds"),
    Described("message of details", "google.rpc.ErrorInfo", "map<string, string> metadata"),
    Described("health", "grpc.health.v1.Health.List", "is a method:"),
    Described("reflection", "grpc.reflection.v1.ServerReflection", "rpc ServerReflectionInfo"),
]


@pytest.mark.parametrize("case", DESCRIBED, ids=lambda case: case.kind)
def test_grpcurl_describes_a_full_name(case: Described, service: ServiceProcess) -> None:
    described = grpcurl(service, "describe", case.name)
    assert described.returncode == 0, described.stderr
    assert case.says in described.stdout


def test_grpcurl_is_told_of_a_name_that_nothing_has(service: ServiceProcess) -> None:
    described = grpcurl(service, "describe", f"{RECORDS}.GetNothing")
    assert described.returncode != 0
    assert "not found" in described.stderr.lower()


def test_grpcurl_decodes_the_details_of_an_error(service: ServiceProcess) -> None:
    missed = grpcurl(service, f"{RECORDS}/GetRecord", body=json.dumps({"id": MISSING}))
    assert missed.returncode != 0
    assert "NotFound" in missed.stderr
    assert "RECORD_NOT_FOUND" in missed.stderr, "ErrorInfo is decoded"


@pytest.mark.parametrize("given", [["--proto", str(PROTO)], []], ids=["by proto", "by reflection"])
def test_ghz_gets_an_answer_to_every_call(given: list[str], service: ServiceProcess) -> None:
    body = '{"record": {"name": "for ghz"}}'
    record = json.loads(grpcurl(service, f"{RECORDS}/CreateRecord", body=body).stdout)["record"]
    done = run(
        go_tool("ghz"), "--insecure", *given, "--format", "json",
        "--call", f"{RECORDS}/GetRecord", "--total", "1000", "--concurrency", "20",
        "--metadata", json.dumps({"authorization": f"Bearer {service.token}"}),
        "--data", json.dumps({"id": record["id"]}), service.grpc,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statusCodeDistribution"] == {"OK": 1000}


def test_the_npm_client_reads_what_it_wrote(service: ServiceProcess) -> None:
    folder = printed(TOOLS / "grpc_js.py")
    done = run("node", str(TOOLS / "client.js"), folder, str(PROTO), service.grpc, service.token)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "name": "from node", "data": "[1]", "version": 1,
        "code": 5, "details": "record not found", "has_details": 1,
    }  # fmt: skip


def test_a_stop_is_clean_and_each_call_has_its_line_in_the_log(tmp_path: Path) -> None:
    with running_service(tmp_path / "data") as service:
        grpcurl(service, f"{RECORDS}/ListRecords", body="{}")
        assert service.stop() == 0
        assert f'"method":"/{RECORDS}/ListRecords","code":"OK"' in service.log()
