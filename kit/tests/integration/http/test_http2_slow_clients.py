"""Clients of HTTP/2 that are slow, or never go on: each ends by a timeout, and others are served."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest
from http2_attack import PREFACE, App, Attacker, block, frames_of, honest_client, opened, raw_frame
from http_wire import PATIENCE, serving
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame

from paceline.http.server import ServerLimits

NO_ERROR, PROTOCOL, SETTINGS_TIMEOUT = 0, 1, 4
LIMITS = ServerLimits(
    read_timeout=0.4,
    write_timeout=0.4,
    idle_timeout=1.5,
    keepalive=1.0,
    keepalive_timeout=1.0,
    linger=0.1,
)
LARGE = block("/large")
PAUSE = 0.02  # seconds between the pieces of a client that drips


@dataclass(frozen=True)
class FirstBytes:
    name: str
    first: bytes = b""
    rest: bytes = b""
    """Sent byte by byte."""


FIRST_BYTES = [
    FirstBytes("no preface"),
    FirstBytes("a part of the preface", PREFACE[:10]),
    FirstBytes("a preface that comes byte by byte, too slowly", rest=PREFACE * 2),
    FirstBytes("another preface", PREFACE.replace(b"SM", b"MS")),
    FirstBytes("a preface and no SETTINGS", PREFACE),
    FirstBytes("a preface and a part of a frame", PREFACE + b"\0\0"),
    FirstBytes("SETTINGS byte by byte", PREFACE, frames_of(SettingsFrame(0, {1: 4096})) * 9),
]


@pytest.mark.parametrize("case", FIRST_BYTES, ids=lambda case: case.name)
async def test_a_connection_that_does_not_begin_ends(case: FirstBytes) -> None:
    async with serving(App(), LIMITS) as served, honest_client(served.server.port):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
        writer.write(case.first)
        reading = asyncio.create_task(reader.read())
        for at in range(len(case.rest)):
            writer.write(case.rest[at : at + 1])
            await asyncio.sleep(PAUSE)
            if reading.done():
                break
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                await reading
        writer.close()


@dataclass(frozen=True)
class Slow:
    name: str
    first: bytes
    again: bytes = b""
    """Sent every few milliseconds from then on."""
    settings: Callable[[], dict[int, int]] = dict[int, int]
    reads: bool = True


def upload(number: int) -> HeadersFrame:
    return opened(number, block("/read", method="POST"), end=False)


SLOW = [
    Slow("nothing is requested", b""),
    Slow("a header block that does not end", frames_of(HeadersFrame(1, block()))),
    Slow("a frame that does not end", raw_frame(0, 0, 1, b"x" * 100)[:-1]),
    Slow("a header that comes byte by byte", b"\0\x20\0\1\4\0\0\0\1", b"\0"),
    Slow("only PINGs", b"", frames_of(PingFrame(0, b"12345678"))),
    Slow("streams that are opened and never fed", frames_of(*map(upload, range(1, 513, 2)))),
    Slow("a body that comes byte by byte", frames_of(upload(1)), frames_of(DataFrame(1, b"x"))),
    Slow("answers that are never read", frames_of(*[opened(n, LARGE) for n in range(1, 201, 2)]),
         settings=lambda: {4: 2**31 - 1}, reads=False),
    Slow("a window of zero", frames_of(*[opened(n, LARGE) for n in range(1, 201, 2)]),
         settings=lambda: {4: 0}),
    Slow("a window of one byte", frames_of(*[opened(n, LARGE) for n in range(1, 201, 2)]),
         settings=lambda: {4: 1}),
    Slow("a window that grows by one byte at a time", frames_of(opened(1, LARGE)),
         frames_of(WindowUpdateFrame(1, 1)), settings=lambda: {4: 1}),
]  # fmt: skip


@pytest.mark.parametrize("case", SLOW, ids=lambda case: case.name)
async def test_a_client_that_does_not_go_on_holds_nothing_for_long(case: Slow) -> None:
    app = App()
    async with serving(app, LIMITS) as served, honest_client(served.server.port):
        attacker = await Attacker.connect(served.server.port, case.settings())
        if not case.reads:
            attacker.writer.write(frames_of(WindowUpdateFrame(0, 2**31 - 65_536)))
        attacker.writer.write(case.first)
        reading = asyncio.create_task(attacker.end()) if case.reads else None
        async with asyncio.timeout(PATIENCE):
            while served.server.connections > 1:
                if case.again and not attacker.writer.is_closing():
                    attacker.writer.write(case.again)
                await asyncio.sleep(PAUSE)
        if reading is not None:
            await reading
        attacker.writer.close()
        async with asyncio.timeout(PATIENCE):
            while app.running > 1:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(PAUSE)


async def test_the_last_number_of_a_stream_is_served_and_ends_the_connection() -> None:
    async with serving(App(), LIMITS) as served, honest_client(served.server.port):
        attacker = await Attacker.connect(served.server.port)
        attacker.writer.write(frames_of(opened(2**31 - 1, block())))
        end = await attacker.end()
        attacker.writer.close()
        assert "HeadersFrame" in end.kinds
        assert end.codes[-1] == NO_ERROR


async def test_a_number_after_the_last_one_is_an_error() -> None:
    async with serving(App()) as served, honest_client(served.server.port):
        attacker = await Attacker.connect(served.server.port)
        attacker.writer.write(frames_of(opened(2**31 - 1)) + raw_frame(1, 5, 2**31 + 1, block()))
        end = await attacker.end()
        attacker.writer.close()
        assert end.codes[-1] == PROTOCOL


async def test_settings_that_are_never_acknowledged_have_their_own_code() -> None:
    async with serving(App(), LIMITS) as served:
        attacker = Attacker(*await asyncio.open_connection("127.0.0.1", served.server.port))
        attacker.writer.write(PREFACE + frames_of(SettingsFrame(0)))
        end = await attacker.end()
        attacker.writer.close()
        assert end.codes == [SETTINGS_TIMEOUT]
