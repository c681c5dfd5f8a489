"""TLS on real sockets: what is agreed, who is refused, what a slow client costs, how files change."""

import asyncio
import http.client
import socket
import ssl
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, StreamEnded
from http_wire import (
    GET,
    PATIENCE,
    Held,
    Served,
    echo,
    hello,
    open_sockets,
    send_answer,
    serving,
)

from paceline.http import Receive, Scope, Send
from paceline.http.server import ServerLimits, TlsFiles
from paceline.testing import CertificateAuthority, CertificateFiles


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path)


@pytest.fixture
def files(authority: CertificateAuthority) -> CertificateFiles:
    return authority.issue("server")


@pytest.fixture
def tls(files: CertificateFiles) -> TlsFiles:
    return TlsFiles(files.certificate, files.key, check_interval=0.0)


@pytest.fixture
def trust(authority: CertificateAuthority) -> ssl.SSLContext:
    """What a client has."""
    context = ssl.create_default_context(cafile=authority.file)
    context.set_alpn_protocols(["http/1.1"])
    return context


AGAIN = "TLS certificate read again"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - another thread or a timer changes it
            await asyncio.sleep(0.01)


async def until_count(count: Callable[[], int], wanted: int) -> None:
    await until(lambda: count() >= wanted)


async def test_requests_are_answered_as_without_tls(tls: TlsFiles, trust: ssl.SSLContext) -> None:
    async with serving(echo, tls=tls) as served:
        assert served.server.url == f"https://127.0.0.1:{served.server.port}"
        client = await served.connect(trust)
        for _ in range(2):
            answer = await client.request(
                b"POST /a?b HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nyes"
            )
            assert answer.body == b"POST /a b yes"


async def test_the_scheme_is_https(tls: TlsFiles, trust: ssl.SSLContext) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(send, f"{scope['scheme']} {scope['client'][0]}".encode())

    async with serving(app, tls=tls) as served:
        answer = await (await served.connect(trust)).request(GET)
        assert answer.body == b"https 127.0.0.1"


async def test_the_standard_librarys_client_gets_large_answers(
    tls: TlsFiles, trust: ssl.SSLContext
) -> None:
    large = b"x" * 3_000_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(send, large)

    def fetch(port: int) -> bytes:
        connection = http.client.HTTPSConnection("localhost", port, context=trust)
        connection.request("GET", "/")
        body = connection.getresponse().read()
        connection.close()
        return body

    async with serving(app, tls=tls) as served:
        assert await asyncio.to_thread(fetch, served.server.port) == large


async def test_http_1_1_is_agreed_with_a_client_that_offers_it(
    tls: TlsFiles, trust: ssl.SSLContext
) -> None:
    async with serving(hello, tls=tls) as served:
        client = await served.connect(trust)
        agreed: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
        assert agreed.selected_alpn_protocol() == "http/1.1"
        assert agreed.version() == "TLSv1.3"


async def test_http_2_is_agreed_with_a_client_that_offers_it(
    tls: TlsFiles, trust: ssl.SSLContext
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(send, f"{scope['http_version']} {scope['scheme']}".encode())

    trust.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(app, tls=tls) as served:
        client = await served.connect(trust)
        agreed: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
        assert agreed.selected_alpn_protocol() == "h2"
        conversation = H2Connection(H2Configuration(header_encoding="ascii"))
        conversation.initiate_connection()
        pseudo = {":method": "GET", ":path": "/", ":scheme": "https", ":authority": "localhost"}
        conversation.send_headers(1, [*pseudo.items()], end_stream=True)
        client.send(conversation.data_to_send())
        events: list[Event] = []
        async with asyncio.timeout(PATIENCE):
            while not any(isinstance(each, StreamEnded) for each in events):
                events += conversation.receive_data(await client.reader.read(65536))
                client.send(conversation.data_to_send())
        (body,) = [each.data for each in events if isinstance(each, DataReceived)]
        assert body == b"2 https"


async def test_a_client_that_offers_nothing_speaks_http_1_1(
    tls: TlsFiles, authority: CertificateAuthority
) -> None:
    async with serving(hello, tls=tls) as served:
        client = await served.connect(ssl.create_default_context(cafile=authority.file))
        assert (await client.request(GET)).status == 200


async def refused(served: Served, context: ssl.SSLContext) -> bool:
    """Whether a client with ``context`` gets no answer."""
    try:
        client = await served.connect(context)
        client.send(GET)
        return await client.read_to_end() == b""
    except OSError:
        return True


async def test_tls_1_1_is_refused(tls: TlsFiles, trust: ssl.SSLContext) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
        trust.minimum_version = trust.maximum_version = ssl.TLSVersion.TLSv1_1
    trust.set_ciphers("ALL:@SECLEVEL=0")
    async with serving(hello, tls=tls) as served:
        assert await refused(served, trust)
        assert served.log.events("warning") == served.log.events("error") == []


async def test_tls_1_2_is_accepted(tls: TlsFiles, trust: ssl.SSLContext) -> None:
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(hello, tls=tls) as served:
        assert (await (await served.connect(trust)).request(GET)).status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_clients_need_a_certificate_of_the_client_ca(
    version: ssl.TLSVersion,
    authority: CertificateAuthority,
    files: CertificateFiles,
    trust: ssl.SSLContext,
    tmp_path: Path,
) -> None:
    tls = TlsFiles(files.certificate, files.key, client_ca=authority.file)
    own = authority.issue("client")
    foreign = CertificateAuthority(tmp_path, "foreign").issue("foreign-client")
    trust.maximum_version = version
    async with serving(hello, tls=tls) as served:
        assert await refused(served, trust)
        trust.load_cert_chain(foreign.certificate, foreign.key)
        assert await refused(served, trust)
        trust.load_cert_chain(own.certificate, own.key)
        for _ in range(2):  # the second one resumes the session, maybe
            assert (await (await served.connect(trust)).request(GET)).status == 200
        assert served.log.events("warning") == served.log.events("error") == []


async def test_a_client_without_tls_is_closed_and_costs_nothing(tls: TlsFiles) -> None:
    sockets = open_sockets()
    async with serving(hello, tls=tls) as served:
        client = await served.connect()
        client.send(GET)
        data = await client.read_to_end()
        assert b"HTTP/" not in data
        await until(lambda: "no TLS handshake" in served.log.events("debug"))
        assert served.server.connections == 0
        client.writer.close()
        await until(lambda: len(open_sockets() - sockets) == 1)  # the listener
        assert served.log.events("warning") == served.log.events("error") == []


async def test_a_handshake_that_never_comes_ends(tls: TlsFiles) -> None:
    async with serving(hello, ServerLimits(handshake_timeout=0.2), tls=tls) as served:
        client = await served.connect()
        began = time.monotonic()
        assert await client.read_to_end() == b""
        assert time.monotonic() - began < PATIENCE / 2
        assert served.log.events("warning") == served.log.events("error") == []


async def test_handshakes_count_as_connections(tls: TlsFiles, trust: ssl.SSLContext) -> None:
    async with serving(hello, ServerLimits(max_connections=3), tls=tls) as served:
        slow = [await served.connect() for _ in range(3)]
        assert await (await served.connect()).read_to_end() == b""
        slow[0].writer.close()
        await until(lambda: "no TLS handshake" in served.log.events("debug"))
        assert (await (await served.connect(trust)).request(GET)).status == 200


async def test_slow_handshakes_do_not_hold_a_stop_up(tls: TlsFiles) -> None:
    async with serving(hello, tls=tls) as served:
        slow = [await served.connect() for _ in range(5)]
        await asyncio.sleep(0)
        began = time.monotonic()
        await served.server.stop()
        assert time.monotonic() - began < 2.0
        for client in slow:
            assert await client.read_to_end() == b""


async def test_handshakes_go_on_while_others_are_slow(tls: TlsFiles, trust: ssl.SSLContext) -> None:
    async with serving(hello, tls=tls) as served:
        for _ in range(50):
            await served.connect()
        assert (await (await served.connect(trust)).request(GET)).status == 200


async def test_the_answer_to_a_request_that_is_cut_short_arrives(
    tls: TlsFiles, trust: ssl.SSLContext
) -> None:
    """The client goes on sending a body that nobody reads: the answer must not be destroyed."""
    head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n"
    async with serving(hello, ServerLimits(linger=0.5), tls=tls) as served:
        client = await served.connect(trust)
        client.send(head + b"x" * 200_000)
        assert (await client.answer()).status == 200
        with suppress(OSError):
            for _ in range(20):
                client.send(b"x" * 10_000)
                await client.writer.drain()
        await client.read_to_end()
        await until(lambda: served.server.connections == 0)


async def test_a_malformed_request_is_answered(tls: TlsFiles, trust: ssl.SSLContext) -> None:
    async with serving(hello, tls=tls) as served:
        client = await served.connect(trust)
        assert (await client.request(b"GET\x00 / HTTP/1.1\r\n\r\n")).status == 400


async def test_a_client_that_reads_nothing_of_a_stream_is_cut_off(
    tls: TlsFiles, trust: ssl.SSLContext
) -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        finally:
            ended.set()

    async with serving(app, ServerLimits(write_timeout=0.3), tls=tls) as served:
        client = await served.connect(trust)
        transport = cast("asyncio.Transport", client.writer.transport)
        transport.pause_reading()
        client.send(GET)
        async with asyncio.timeout(PATIENCE):
            await ended.wait()


async def test_a_stop_ends_idle_connections_and_finishes_requests(
    tls: TlsFiles, trust: ssl.SSLContext
) -> None:
    app = Held()
    async with serving(app, tls=tls) as served:
        idle, busy = await served.connect(trust), await served.connect(trust)
        busy.send(GET)
        await app.entered.wait()
        stopping = asyncio.create_task(served.server.stop())
        assert await idle.read_to_end() == b""
        app.release.set()
        answer = await busy.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        await stopping


async def test_a_client_that_does_not_answer_the_end_is_cut_off(
    tls: TlsFiles, trust: ssl.SSLContext
) -> None:
    """It never sends its close_notify: the connection lasts no longer than ``linger``."""
    async with serving(hello, ServerLimits(linger=0.2), tls=tls) as served:
        raw = socket.create_connection(("127.0.0.1", served.server.port))
        raw.setblocking(False)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trust.wrap_bio(incoming, outgoing, server_hostname="localhost")
        loop = asyncio.get_running_loop()
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                await loop.sock_sendall(raw, outgoing.read())
                incoming.write(await loop.sock_recv(raw, 65536))
        client.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        await loop.sock_sendall(raw, outgoing.read())
        await until(lambda: served.server.connections == 1)
        async with asyncio.timeout(PATIENCE):
            while await loop.sock_recv(raw, 65536):
                pass
        await until(lambda: served.server.connections == 0)
        raw.close()


def peer_of(served_by: asyncio.StreamWriter) -> bytes:
    found: ssl.SSLObject = served_by.get_extra_info("ssl_object")
    return found.getpeercert(binary_form=True) or b""


async def test_renewing_the_files_five_times_under_load_fails_no_request(
    authority: CertificateAuthority, tls: TlsFiles, trust: ssl.SSLContext
) -> None:
    seen: set[bytes] = set()
    requests, stopped = 0, False

    async def load(served: Served, *, keeps: bool) -> None:
        nonlocal requests
        client = await served.connect(trust)
        while not stopped:
            if not keeps:
                client = await served.connect(trust)
                seen.add(peer_of(client.writer))
            answer = await client.request(GET)
            assert answer.status == 200
            requests += 1
            if not keeps:
                client.writer.close()
            await asyncio.sleep(0)

    limits = ServerLimits(read_timeout=0.2, write_timeout=5.0)  # then it sweeps often
    async with serving(hello, limits, tls=tls) as served:
        kept = await served.connect(trust)
        async with asyncio.TaskGroup() as group:
            for keeps in (True, False, False):
                group.create_task(load(served, keeps=keeps))
            for number in range(1, 6):
                authority.issue("server", days=90 + number)
                await until_count(lambda: served.log.events("info").count(AGAIN), number)
                await until_count(lambda: requests, requests + 20)
            stopped = True
        assert (await kept.request(GET)).status == 200
        assert peer_of(kept.writer) != peer_of((await served.connect(trust)).writer)
        assert served.log.events("warning") == []
        assert served.log.events("error") == []
    assert len(seen) >= 5
