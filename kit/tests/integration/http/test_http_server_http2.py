"""The server over HTTP/2 on real sockets: requests, drain, hand-over, admission, access log."""

import asyncio

import pytest
from http2_client import connected
from http2_wire import REQUEST, Streams, answer
from http_wire import GET, PATIENCE, Held, echo, hello, serving

from paceline.concurrency import fail_after
from paceline.errors import Error
from paceline.http import App
from paceline.http.middleware import access_log
from paceline.http.server import HttpServer, ServerLimits
from paceline.http.server.http2.frames import MAX_STREAM
from paceline.testing import RecordingLog


async def test_requests_of_one_connection_are_answered_side_by_side() -> None:
    async with serving(echo) as served, connected(served.server) as client:
        numbers = [client.request(b"%d" % at) for at in range(50)]
        for at, number in enumerate(numbers):
            assert await client.response(number) == (200, b"POST /things a=1 %d" % at)


async def test_both_versions_are_served_on_one_port() -> None:
    async with serving(hello) as served, connected(served.server) as client:
        assert await client.response(client.request()) == (200, b"ok")
        assert (await served.request(GET)).body == b"ok"


async def test_a_large_body_goes_there_and_back() -> None:
    async with serving(echo) as served, connected(served.server) as client:
        number = client.connection.get_next_available_stream_id()
        client.connection.send_headers(number, REQUEST)
        left = body = b"0123456789abcdef" * 100_000
        while left:
            size = min(len(left), client.connection.local_flow_control_window(number), 16_384)
            if size:
                client.connection.send_data(number, left[:size], end_stream=size == len(left))
                left = left[size:]
                client.flush()
            else:
                await client.read()
        status, answered = await client.response(number)
        assert status == 200
        assert answered.endswith(body)


async def test_streams_take_requests_before_the_app_does() -> None:
    server = HttpServer(
        hello, RecordingLog(), host="127.0.0.1", port=0, streams=Streams(on_end=answer)
    )
    await server.start()
    async with connected(server) as client:
        assert await client.response(client.request(b"x")) == (200, b"hello")
    await server.stop()


async def test_a_stop_finishes_what_is_in_flight() -> None:
    held = Held()
    async with serving(held) as served, connected(served.server) as client:
        number = client.request()
        await held.entered.wait()
        stopping = asyncio.create_task(served.server.stop())
        goaways = asyncio.create_task(client.raw_to_end())
        await asyncio.sleep(0)
        held.release.set()
        assert await goaways == [(MAX_STREAM, 0), (number, 0)]
        await stopping
        assert b"ok" in client.received


async def test_a_stop_closes_idle_connections() -> None:
    async with serving(hello) as served, connected(served.server) as client:
        await client.response(client.request())
        stopping = asyncio.create_task(served.server.stop())
        assert (await client.raw_to_end())[-1] == (1, 0)
        await stopping


async def test_a_stop_cuts_off_what_outlives_the_deadline() -> None:
    held = Held()
    async with serving(held) as served, connected(served.server) as client:
        client.request()
        client.request()
        await held.entered.wait()
        while held.calls < 2:  # noqa: ASYNC110 - a condition of the app
            await asyncio.sleep(0)
        with pytest.raises(Error, match="2 requests in flight were cut off"):
            async with fail_after(0.4, "stopping"):
                await served.server.stop()
        assert held.cancelled == 2


async def test_a_server_that_accepts_no_more_announces_the_end() -> None:
    limits = ServerLimits(idle_timeout=4, read_timeout=0.2)
    async with serving(hello, limits) as served, connected(served.server) as client:
        await client.response(client.request())
        await served.server.stop_accepting()
        assert (await client.raw_to_end())[-1] == (1, 0)


async def test_a_client_that_leaves_cancels_its_requests() -> None:
    held = Held()
    async with serving(held) as served:
        async with connected(served.server) as client:
            client.request()
            await held.entered.wait()
        async with asyncio.timeout(PATIENCE):
            await held.ended.wait()
        assert held.cancelled == 1


async def test_a_request_that_is_slow_to_end_is_answered_408() -> None:
    limits = ServerLimits(read_timeout=0.1)
    async with serving(echo, limits) as served, connected(served.server) as client:
        number = client.connection.get_next_available_stream_id()
        client.connection.send_headers(number, REQUEST)
        client.flush()
        assert (await client.response(number))[0] == 408
        assert (await client.response(client.request(b"")))[0] == 200


async def test_the_app_of_this_kit_logs_requests_over_http2() -> None:
    log = RecordingLog()
    app = App(access_log(log))
    server = HttpServer(app, log, host="127.0.0.1", port=0)
    await server.start()
    async with connected(server) as client:
        assert (await client.response(client.request()))[0] == 404
    await server.stop()
    assert [fields.get("status") for _, _, fields in log.lines] == [404]
