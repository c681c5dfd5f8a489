"""Stopping: what is in flight finishes, what outlives the deadline is cut off, nothing is left."""

import asyncio
import os
import signal
import socket
from contextlib import suppress

import pytest
from http_wire import GET, Held, hello, make_server, send_answer, serving

from paceline.concurrency.deadline import fail_after
from paceline.errors import Code, Error
from paceline.http.asgi import Receive, Scope, Send
from paceline.lifecycle import Lifecycle
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration


async def test_what_is_in_flight_is_answered_and_the_connection_closes() -> None:
    held = Held()
    async with serving(held) as served:
        client = await served.connect()
        client.send(GET)
        await held.entered.wait()
        stopping = asyncio.create_task(served.server.stop())
        await asyncio.sleep(0)
        held.release.set()
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.read_to_end() == b""
        await stopping
    assert held.cancelled == 0


async def test_a_request_that_is_just_arriving_is_still_answered() -> None:
    async with serving(hello) as served:
        client = await served.connect()
        await client.request(GET)
        client.send(GET[:10])
        await client.writer.drain()
        await served.request(GET)  # by now the server has read the others, too
        stopping = asyncio.create_task(served.server.stop())
        await asyncio.sleep(0)
        answer = await client.request(GET[10:])
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        await stopping


async def test_idle_connections_are_closed_and_new_ones_are_refused() -> None:
    async with serving(hello) as served:
        silent = await served.connect()
        kept = await served.connect()
        await kept.request(GET)
        port = served.server.port
        await served.server.stop()
        assert await silent.read_to_end() == await kept.read_to_end() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_who_waits_in_the_kernel_at_the_stop_is_answered() -> None:
    async with serving(hello) as served:
        waiting = [
            socket.create_connection(("127.0.0.1", served.server.port), 5) for _ in range(10)
        ]
        for client in waiting:
            client.sendall(GET)
        await served.server.stop()
        for client in waiting:
            with client:
                assert client.recv(1024).startswith(b"HTTP/1.1 200 ")


async def test_what_outlives_the_deadline_is_cut_off_and_counted() -> None:
    held = Held()
    async with serving(held) as served:
        clients = [await served.connect() for _ in range(3)]
        for client in clients:
            client.send(GET)
        while held.calls < len(clients):
            held.entered.clear()
            await held.entered.wait()
        with pytest.raises(Error, match="3 requests in flight were cut off") as caught:
            async with fail_after(0.1, "stop"):
                await served.server.stop()
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert [await client.read_to_end() for client in clients] == [b""] * 3
    assert held.cancelled == 3
    assert served.log.lines == []


async def test_work_after_a_response_is_waited_for() -> None:
    go_on = asyncio.Event()
    done = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal done
        await send_answer(send)
        await go_on.wait()
        done = True

    async with serving(app) as served:
        client = await served.connect()
        await client.request(GET)
        stopping = asyncio.create_task(served.server.stop())
        assert await client.read_to_end() == b""
        assert not stopping.done()
        go_on.set()
        await stopping
    assert done


async def test_a_stop_that_is_cancelled_still_closes_everything() -> None:
    held = Held()
    async with serving(held) as served:
        client = await served.connect()
        client.send(GET)
        await held.entered.wait()
        stopping = asyncio.create_task(served.server.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert await client.read_to_end() == b""
        await held.ended.wait()
    assert held.cancelled == 1


async def test_an_app_that_ignores_its_cancellation_does_not_hold_up_the_stop() -> None:
    entered = asyncio.Event()
    release = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        with suppress(asyncio.CancelledError):
            await release.wait()
        await release.wait()

    async with serving(app) as served:
        client = await served.connect()
        client.send(GET)
        await entered.wait()
        with pytest.raises(Error, match="1 requests in flight were cut off"):
            async with fail_after(0.1, "stop"):
                await served.server.stop()
        release.set()
        await asyncio.sleep(0)


async def test_stopping_before_starting_and_twice_is_fine() -> None:
    server = make_server(hello, RecordingLog())
    await server.stop()
    await server.start()
    await server.start()
    await server.stop()
    await server.stop()


async def test_a_hundred_starts_and_stops_with_a_request_each() -> None:
    server = make_server(hello, RecordingLog())
    for _ in range(100):
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        await server.stop()
        writer.close()
        await writer.wait_closed()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_no_request_is_lost_while_the_process_drains_and_stops() -> None:
    """Clients that open a connection for each request see only answers until the listener closes."""
    log = RecordingLog()
    server = make_server(hello, log)
    lifecycle = Lifecycle([server], log, drain_delay=2.0, shutdown_timeout=5)
    up = asyncio.Event()
    running = asyncio.create_task(lifecycle.run(up.set))
    await up.wait()
    answered = 0
    while not lifecycle.draining or answered < 50:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
        answered += 1
        if answered == 20:
            os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0
