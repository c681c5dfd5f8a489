"""The service behind nginx and HAProxy: keep-alive, HTTP/1.0, gzip, buffering, addresses, streams."""

import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from http_proxies import PROXIES, Proxy, proxy_before
from service_process import ServiceProcess, running_service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

RECORDS = "/api/v1/records"
CLIENT = "203.0.113.7"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    with running_service(
        tmp_path_factory.mktemp("proxies") / "data", APP_TRUSTED_PROXIES="127.0.0.1"
    ) as started:
        yield started


@pytest.fixture(params=PROXIES, ids=lambda proxy: proxy.id)
def proxy(
    request: pytest.FixtureRequest, service: ServiceProcess, tmp_path: Path
) -> Generator[str]:
    kind: Proxy = request.param
    with proxy_before(kind, service.url.removeprefix("http://"), tmp_path / "proxy") as address:
        yield address


class Client:
    """One connection with a token."""

    def __init__(self, address: str, service: ServiceProcess) -> None:
        self.connection = http.client.HTTPConnection(address, timeout=20)
        self._token = service.token

    def __call__(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        head = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        head |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else json.dumps(body)
        self.connection.request(method, path, content, head)
        answer = self.connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def close(self) -> None:
        self.connection.close()


def test_a_connection_is_used_for_many_requests(service: ServiceProcess, proxy: str) -> None:
    with closing(Client(proxy, service)) as client:
        client("GET", "/health")
        before = client.connection.sock
        for number in range(60):
            status, head, body = client("POST", RECORDS, {"name": f"record {number}"})
            assert (status, head["etag"]) == (201, '"1"')
            made = json.loads(body)
            assert client("GET", head["location"])[::2] == (200, body)
            assert client("DELETE", f"{RECORDS}/{made['id']}")[0] == 204
            assert client("GET", head["location"])[0] == 404
        assert client.connection.sock is before


def test_bodies_arrive_whole_compressed_or_large(service: ServiceProcess, proxy: str) -> None:
    data = {"text": "snow ☃ " * 5_000}
    with closing(Client(proxy, service)) as client:
        status, head, made = client("POST", RECORDS, {"name": "large", "data": data})
        assert status == 201
        place = head["location"]
        status, head, body = client("GET", place, accept_encoding="gzip")
        assert (status, head["content-encoding"]) == (200, "gzip")
        assert gzip.decompress(body) == made
        assert head["etag"] in ('W/"1"', '"1"')
        status, _, body = client("PUT", place, {"name": "changed"}, if_match=head["etag"])
        if head["etag"].startswith("W/"):
            assert status == 412, "a weak tag does not say which content is meant"
            assert client("PUT", place, {"name": "changed"}, if_match='"1"')[0] == 200
        status, _, body = client("POST", RECORDS, {"name": "too large", "data": "x" * 2_000_000})
        assert status == 413
        assert json.loads(body)["status"] == 413


def test_the_clients_address_is_the_one_before_the_proxy(
    service: ServiceProcess, proxy: str
) -> None:
    with closing(Client(proxy, service)) as client:
        name = f"address-{time.monotonic_ns()}"
        assert client("GET", f"/{name}", x_forwarded_for=CLIENT)[0] == 404
    deadline = time.monotonic() + 10
    while not (lines := [line for line in service.log().splitlines() if name in line]):
        assert time.monotonic() < deadline, "no line in the access log"
        time.sleep(0.05)
    assert any(CLIENT in line for line in lines), lines


def test_events_come_at_once_however_the_proxy_buffers(service: ServiceProcess, proxy: str) -> None:
    with closing(Client(proxy, service)) as stream, closing(Client(proxy, service)) as client:
        bearer = {"authorization": f"Bearer {service.token}", "accept-encoding": "gzip"}
        stream.connection.request("GET", f"{RECORDS}/updates?prefix=event", headers=bearer)
        events = stream.connection.getresponse()
        assert (events.status, events.getheader("content-type")) == (200, "text/event-stream")
        for number in range(5):
            created = time.monotonic()
            assert client("POST", RECORDS, {"name": f"event {number}"})[0] == 201
            assert next_event(events)["record"]["name"] == f"event {number}"
            assert time.monotonic() - created < 5


def next_event(events: http.client.HTTPResponse) -> Any:
    while not (line := events.readline()).startswith(b"data: "):
        assert line, "the stream has ended"
    return json.loads(line.removeprefix(b"data: "))


@pytest.mark.parametrize("keep_alive", [False, True], ids=["closes", "keeps alive"])
def test_a_client_of_http_1_0_is_answered(service: ServiceProcess, *, keep_alive: bool) -> None:
    host, _, port = service.url.removeprefix("http://").rpartition(":")
    asked = b"GET /health HTTP/1.0\r\n" + b"Connection: keep-alive\r\n" * keep_alive + b"\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for _ in range(3 if keep_alive else 1):
            connection.sendall(asked)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == 200
            assert not answer.chunked
            answer.read(int(answer.getheader("content-length", "0")))
        if not keep_alive:
            assert connection.recv(1) == b""


def test_many_clients_at_once_get_their_own_answers(service: ServiceProcess, proxy: str) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            with closing(Client(proxy, service)) as client:
                for turn in range(20):
                    name = f"client {number} turn {turn}"
                    status, _, body = client("POST", RECORDS, {"name": name})
                    if (status, json.loads(body)["name"]) != (201, name):
                        wrong.append((status, body))
        except (OSError, http.client.HTTPException, KeyError) as exc:
            wrong.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
