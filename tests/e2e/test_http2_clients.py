"""Both doors of a running service with the clients of others: curl, h2load, grpcio, and nginx."""

import asyncio
import json
import re
import shutil
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from external_tools import go_tool, printed
from google.protobuf.message import Message
from grpc import aio
from nginx_proxy import nginx_before
from prometheus_text import read_text
from service_process import ServiceProcess, running_service

from myservice.proto.v1 import records_pb2 as pb
from paceline.testing import CertificateAuthority

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TOOLS = Path(__file__).parents[1] / "tools"
PROTO = Path(__file__).parents[2] / "service/api/proto/myservice/v1/records.proto"
RECORDS = "/myservice.v1.RecordService"
MISSING = "0192f0a0-0000-7000-8000-00000000dead"
PATIENCE = 30.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("clients")
    # A busy machine is no reason to refuse.
    settings = {"APP_RATE_LIMIT": "0", "APP_SHED_DELAY": "0"}
    with running_service(folder / "data", **settings) as started:
        yield started


@pytest.fixture
def proxy(service: ServiceProcess, tmp_path: Path) -> Generator[str]:
    with nginx_before(service.url.removeprefix("http://"), service.grpc, tmp_path) as address:
        yield address


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def curl(
    service: ServiceProcess, path: str, *words: str, at: str = ""
) -> tuple[str, int, dict[str, Any]]:
    """The HTTP version, the status and the JSON of an answer."""
    said = run(
        program("curl"), "--silent", "--show-error", "--max-time", "30",
        "--header", f"authorization: Bearer {service.token}",
        "--write-out", "\n%{http_version} %{http_code}", *words, f"{at or service.url}{path}",
    )  # fmt: skip
    body, _, last = said.rpartition("\n")
    version, status = last.split()
    return version, int(status), json.loads(body) if body else {}


def draft(name: str) -> tuple[str, ...]:
    body = json.dumps({"name": name, "data": {"n": 1}})
    return ("--header", "content-type: application/json", "--data", body)


def test_curl_speaks_http2_with_prior_knowledge(service: ServiceProcess) -> None:
    known = "--http2-prior-knowledge"
    version, status, made = curl(service, "/api/v1/records", known, *draft("by curl"))
    assert (version, status) == ("2", 201)
    assert curl(service, f"/api/v1/records/{made['id']}", known) == ("2", 200, made)
    version, status, problem = curl(service, f"/api/v1/records/{MISSING}", known)
    assert (version, status, problem["status"]) == ("2", 404, 404)
    version, status, problem = curl(service, "/api/v1/records", known, *draft(""))
    assert (version, status) == ("2", 422)
    head = curl(service, f"/api/v1/records/{made['id']}", known, "--head", "--output", "/dev/null")
    assert head == ("2", 200, {})


def test_curl_that_offers_an_upgrade_is_answered_with_http_1(service: ServiceProcess) -> None:
    version, status, _ = curl(service, "/api/v1/records", "--http2")
    assert (version, status) == ("1.1", 200)


def h2load(url: str, *words: str) -> int:
    """How many of 2,000 requests were answered with a status of success."""
    said = run(
        program("h2load"), "--requests", "2000", "--clients", "4", "--max-concurrent-streams", "16",
        *words, url,
    )  # fmt: skip
    found = re.search(r"status codes: (\d+) 2xx", said)
    assert found is not None, said
    return int(found[1])


def test_h2load_gets_an_answer_to_every_request(service: ServiceProcess) -> None:
    _, _, made = curl(service, "/api/v1/records", *draft("for h2load"))
    token = ("--header", f"authorization: Bearer {service.token}")
    assert h2load(f"{service.url}/api/v1/records/{made['id']}", *token) == 2000
    assert h2load(f"{service.url}/health") == 2000


def test_h2load_gets_an_answer_to_every_call(service: ServiceProcess, tmp_path: Path) -> None:
    message = pb.ListRecordsRequest(page_size=1).SerializeToString()
    body = tmp_path / "body"
    body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    before = codes_of(service, "ListRecords")
    answered = h2load(
        f"http://{service.grpc}{RECORDS}/ListRecords",
        "--data", str(body), "--header", "te: trailers",
        "--header", "content-type: application/grpc",
        "--header", f"authorization: Bearer {service.token}",
    )  # fmt: skip
    assert answered == 2000
    # It does not look at trailers, and an error of gRPC has status 200, too.
    assert codes_of(service, "ListRecords") - before == {"OK": 2000}


def codes_of(service: ServiceProcess, method: str) -> Counter[str]:
    """How many calls of a method ended with each code so far."""
    with urllib.request.urlopen(f"{service.admin}/metrics", timeout=PATIENCE) as answer:  # noqa: S310 - the test's own
        text: str = answer.read().decode()
    return Counter(
        {
            sample.labels["rpc_response_status_code"]: int(sample.value)
            for family in read_text(text)
            for sample in family.samples
            if sample.name == "rpc_server_call_duration_seconds_count"
            and sample.labels["rpc_method"].endswith(f"/{method}")
        }
    )


def bearer(service: ServiceProcess) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {service.token}"),)


def has_details(error: Any) -> bool:
    return "grpc-status-details-bin" in dict(error.trailing_metadata())


def all_calls(channel: grpc.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
    """Every method of the service, and what a client does to a call."""

    def call(name: str, request: Message, answer: type[Any]) -> Any:
        method: Callable[..., Any] = channel.unary_unary(
            f"{RECORDS}/{name}", type(request).SerializeToString, answer.FromString
        )
        return method(request, metadata=metadata, timeout=PATIENCE)

    updates: Callable[..., Iterator[pb.RecordUpdate]] = channel.unary_stream(
        f"{RECORDS}/StreamUpdates", pb.StreamRequest.SerializeToString, pb.RecordUpdate.FromString
    )
    subscribed: Any = updates(pb.StreamRequest(), metadata=metadata, timeout=PATIENCE)
    created: list[pb.Record] = []
    with ThreadPoolExecutor(1) as reader:
        first = reader.submit(next, subscribed)
        while not first.done():  # until the server has subscribed the client
            draft = pb.RecordDraft(name="sync", data=json.dumps("x" * 10_000))
            answer = call(
                "CreateRecord", pb.CreateRecordRequest(record=draft), pb.CreateRecordResponse
            )
            created.append(answer.record)
    update, made = first.result(), created[0]
    assert update.kind == pb.RecordUpdate.CREATED
    assert update.id in {record.id for record in created}
    subscribed.cancel()
    with pytest.raises(grpc.RpcError) as cancelled:
        list(subscribed)  # what had arrived, and then the end
    assert code_of(cancelled.value) is grpc.StatusCode.CANCELLED
    assert call("GetRecord", pb.GetRecordRequest(id=made.id), pb.GetRecordResponse).record == made
    changed = call(
        "UpdateRecord",
        pb.UpdateRecordRequest(id=made.id, record=pb.RecordDraft(name="changed")),
        pb.UpdateRecordResponse,
    ).record
    assert (changed.name, changed.version) == ("changed", 2)
    listed = call(
        "ListRecords", pb.ListRecordsRequest(prefix="changed"), pb.ListRecordsResponse
    ).records
    assert [record.id for record in listed] == [made.id]
    call("DeleteRecord", pb.DeleteRecordRequest(id=made.id), pb.DeleteRecordResponse)
    with pytest.raises(grpc.RpcError) as missed:
        call("GetRecord", pb.GetRecordRequest(id=made.id), pb.GetRecordResponse)
    assert code_of(missed.value) is grpc.StatusCode.NOT_FOUND
    assert has_details(missed.value)
    late: Any = updates(pb.StreamRequest(), metadata=metadata, timeout=0.3)
    with pytest.raises(grpc.RpcError) as expired:
        list(late)
    assert code_of(expired.value) is grpc.StatusCode.DEADLINE_EXCEEDED


def code_of(error: Any) -> grpc.StatusCode:
    found: grpc.StatusCode = error.code()
    return found


def test_grpcio_makes_every_call(service: ServiceProcess) -> None:
    with closing(grpc.insecure_channel(service.grpc)) as channel:
        all_calls(channel, bearer(service))


async def test_grpcio_makes_many_calls_at_once(service: ServiceProcess) -> None:
    async with aio.insecure_channel(service.grpc) as channel:
        create: Any = channel.unary_unary(
            f"{RECORDS}/CreateRecord",
            pb.CreateRecordRequest.SerializeToString,
            pb.CreateRecordResponse.FromString,
        )
        subscribe: Any = channel.unary_stream(
            f"{RECORDS}/StreamUpdates",
            pb.StreamRequest.SerializeToString,
            pb.RecordUpdate.FromString,
        )
        stream = subscribe(pb.StreamRequest(), metadata=bearer(service), timeout=PATIENCE)
        first = asyncio.ensure_future(anext(aiter(stream)))

        async def make(name: str) -> str:
            answer = await create(
                pb.CreateRecordRequest(record=pb.RecordDraft(name=name)),
                metadata=bearer(service), timeout=PATIENCE,
            )  # fmt: skip
            made: str = answer.record.id
            return made

        while not first.done():  # until the server has subscribed the client
            await make("early")
        await first
        wanted = set(await asyncio.gather(*(make(f"at once {n}") for n in range(50))))
        async for update in stream:
            wanted.discard(update.id)
            if not wanted:
                break
        assert not wanted


def test_nginx_passes_every_call(service: ServiceProcess, proxy: str) -> None:
    with closing(grpc.insecure_channel(proxy)) as channel:
        all_calls(channel, bearer(service))


def test_nginx_passes_the_calls_of_the_npm_client(service: ServiceProcess, proxy: str) -> None:
    folder = printed(TOOLS / "grpc_js.py")
    said = run("node", str(TOOLS / "client.js"), folder, str(PROTO), proxy, service.token)
    assert json.loads(said)["has_details"] == 1


def test_nginx_passes_requests(service: ServiceProcess, proxy: str) -> None:
    at, known = f"http://{proxy}", "--http2-prior-knowledge"
    version, status, made = curl(service, "/api/v1/records", known, *draft("by nginx"), at=at)
    assert (version, status) == ("2", 201)
    assert curl(service, f"/api/v1/records/{made['id']}", known, at=at) == ("2", 200, made)
    assert curl(service, f"/api/v1/records/{MISSING}", known, at=at)[1] == 404
    assert h2load(f"{at}/health") == 2000


@dataclass
class Secured:
    """A service over TLS, and the certificate to trust."""

    service: ServiceProcess
    authority: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Generator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    authority = CertificateAuthority(folder)
    files = authority.issue("server")
    settings = {
        "APP_TLS_CERT": str(files.certificate), "APP_TLS_KEY": str(files.key),
        "APP_RATE_LIMIT": "0", "APP_SHED_DELAY": "0",
    }  # fmt: skip
    with running_service(folder / "data", **settings) as service:
        yield Secured(service, authority.file)


def test_curl_is_given_http2_over_tls_unless_it_wants_http_1(secured: Secured) -> None:
    trust = ("--cacert", str(secured.authority))
    version, status, made = curl(secured.service, "/api/v1/records", *trust, *draft("by curl"))
    assert (version, status) == ("2", 201)
    path = f"/api/v1/records/{made['id']}"
    assert curl(secured.service, path, *trust) == ("2", 200, made)
    assert curl(secured.service, path, *trust, "--http1.1") == ("1.1", 200, made)


def test_requests_of_curl_at_once_share_a_connection(secured: Secured) -> None:
    url = f"{secured.service.url}/api/v1/records"
    said = run(
        program("curl"), "--silent", "--parallel", "--cacert", str(secured.authority),
        "--header", f"authorization: Bearer {secured.service.token}",
        "--write-out", "%{http_version} %{http_code} %{num_connects}\n",
        *(["--output", "/dev/null", url] * 20),
    )  # fmt: skip
    assert sorted(said.splitlines()) == [*["2 200 0"] * 19, "2 200 1"]


def test_h2load_gets_an_answer_to_every_request_over_tls(secured: Secured) -> None:
    assert h2load(f"{secured.service.url}/health") == 2000


def test_grpcio_and_grpcurl_call_over_tls(secured: Secured) -> None:
    trust = grpc.ssl_channel_credentials(secured.authority.read_bytes())
    with closing(grpc.secure_channel(secured.service.grpc, trust)) as channel:
        all_calls(channel, bearer(secured.service))
    said = run(
        go_tool("grpcurl"), "-cacert", str(secured.authority), secured.service.grpc, "list"
    )  # fmt: skip
    assert "myservice.v1.RecordService" in said
