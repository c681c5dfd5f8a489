"""A load on a real server counts each request once, as what it was."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from paceline.console.load import Load, Plan, Tally, reason_of
from paceline.console.load_report import as_json, as_line, as_text
from paceline.console.target import read_target

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def serving(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """A server on a free port."""
    writers: set[asyncio.StreamWriter] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writers.discard(writer)
        writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        while writers:  # noqa: ASYNC110 - each ends by itself now
            await asyncio.sleep(0)


def answering(*answers: bytes, close: bool = False, pause: float = 0.0) -> Serve:
    """Give these answers in turn, on each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                if pause:
                    await asyncio.sleep(pause)
                writer.write(answer)
                if close:
                    await writer.drain()
                    return

    return serve


def plan(port: int, **changes: object) -> Plan:
    target = read_target(f"http://127.0.0.1:{port}/")
    return replace(Plan(target, connections=3, seconds=0.3), **changes)  # type: ignore[arg-type]


async def load(serve: Serve, **changes: object) -> Tally:
    async with serving(serve) as port:
        return await Load(plan(port, **changes)).run()


async def test_answers_are_counted_by_their_status() -> None:
    missing = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    tally = await load(answering(OK, missing))
    assert not tally.errors
    assert tally.statuses[200] > 10
    assert abs(tally.statuses[200] - tally.statuses[404]) <= 3
    assert tally.latencies.count == tally.statuses.total()
    assert tally.failed == tally.statuses[404]
    assert tally.received > tally.latencies.count * len(OK) / 2
    assert 0.29 < tally.elapsed < 5


async def test_a_server_that_closes_after_each_answer_is_no_error() -> None:
    closing = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    tally = await load(answering(closing, close=True))
    assert not tally.errors
    assert tally.statuses[200] > 5


async def test_early_hints_are_not_the_answer_and_head_has_no_body() -> None:
    hinted = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK
    assert set((await load(answering(hinted))).statuses) == {200}
    head = read_target("http://127.0.0.1/", method="HEAD")
    async with serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")) as port:
        found = plan(port, target=replace(head, port=port))
        tally = await Load(found).run()
    assert tally.statuses[200] > 10
    assert not tally.errors


async def test_what_breaks_is_counted_and_the_load_goes_on() -> None:
    tally = await load(
        answering(OK, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nno", close=False), timeout=0.1
    )
    assert tally.errors["no answer in time"] >= 3
    assert tally.statuses[200] > tally.errors.total() / 2
    cut = await load(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nno", close=True))
    assert (cut.errors["connection closed"] >= 3, cut.latencies.count) == (True, 0)
    strange = await load(answering(b"SSH-2.0-OpenSSH\r\n"))
    assert strange.errors["not an HTTP/1.1 answer"] >= 3


async def test_a_server_that_hangs_up_at_once_is_not_stormed() -> None:
    accepted = 0

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.transport.abort()

    try:
        tally = await load(hang_up)
    except ConnectionResetError:
        return  # the first connection already: nothing to measure
    assert tally.latencies.count == 0
    assert tally.errors.total() >= 1
    assert accepted < 40, "it waits between its attempts, longer each time"


async def test_a_request_that_was_due_waits_in_its_latency() -> None:
    # One connection and 50 ms an answer: 20 a second of the 100 that are wanted.
    tally = await load(answering(OK, pause=0.05), connections=1, rate=100, seconds=1.0, timeout=5.0)
    assert 5 <= tally.statuses[200] <= 21
    assert tally.unsent >= 79
    assert tally.latencies.longest > 0.4, "from when it was due, not from when it was sent"


async def test_an_open_loop_keeps_its_rate() -> None:
    tally = await load(answering(OK), rate=100, seconds=0.5)
    assert 45 <= tally.statuses[200] + tally.unsent <= 52


async def test_nobody_listening_is_an_error_at_once() -> None:
    async with serving(answering(OK)) as port:
        pass
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await Load(plan(port)).run()


async def test_an_early_end_keeps_what_was_measured_and_waits_for_nobody() -> None:
    async with serving(answering(OK, b"")) as port:
        running = Load(plan(port, seconds=60.0))
        task = asyncio.create_task(running.run())
        while running.tally.latencies.count < 3:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
        running.stop()
        tally = await task
    assert tally.interrupted
    assert tally.errors == {"given up at the end": 3}
    assert tally.statuses == {200: 3}


async def test_cancelling_leaves_no_task_and_no_connection() -> None:
    before = asyncio.all_tasks()
    async with serving(answering(OK)) as port:
        task = asyncio.create_task(Load(plan(port, seconds=60.0)).run())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert {each for each in asyncio.all_tasks() if "load" in each.get_name()} == set()
    assert asyncio.all_tasks() == before


async def test_https_wants_a_certificate_that_is_trusted_or_to_be_told_otherwise(
    tmp_path: Path,
) -> None:
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(self_signed(tmp_path))
    async with serving(answering(OK), tls=server_side) as port:
        target = read_target(f"https://127.0.0.1:{port}/")
        wary = plan(port, target=target, tls=target.tls_context(insecure=False))
        with pytest.raises(ssl.SSLCertVerificationError) as refused:
            await Load(wary).run()
        assert "--insecure" in reason_of(refused.value)
        trusting = plan(port, target=target, tls=target.tls_context(insecure=True))
        tally = await Load(trusting).run()
    assert tally.statuses[200] > 5
    assert not tally.errors


def self_signed(folder: Path) -> Path:
    """A certificate for nobody, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / "both.pem"
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    return file


async def test_the_report_says_what_was_found() -> None:
    async with serving(answering(OK)) as port:
        found = plan(port, rate=50.0, seconds=1.2)
        tally = await Load(found).run()
    text = as_text(found, tally)
    assert "3 connections, 50 a second wanted" in text
    assert f"{tally.statuses[200]}  200" in text
    assert "p99.9" in text
    assert "█" in text
    assert f'"answers": {tally.latencies.count}' in as_json(found, tally)
    assert f"{tally.latencies.count} answers" in as_line(tally)


def test_a_report_of_nothing_is_a_report() -> None:
    empty = Tally()
    found = plan(1)
    assert "Nothing was answered" in as_text(found, empty)
    assert '"answers": 0' in as_json(found, empty)
