"""The supervisor as a process, with real workers that crash, hang, and will not stop."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest
from running_supervisor import PATIENCE, alive, ask_on, supervisor

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


async def test_workers_answer_on_one_port_and_a_signal_ends_all_cleanly(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        assert await running.ask() in running.pids()
        running.process.send_signal(signal.SIGTERM)
        assert await running.process.wait() == 0
    assert len(running.pids()) == 2


async def test_the_url_of_an_ipv6_address_has_brackets(tmp_path: Path) -> None:
    async with supervisor(tmp_path, workers=1, host="::1") as running:
        await running.until_said("ready")
        assert str(running.lines("ready")[0]["url"]).startswith("http://[::1]:")


async def test_a_reload_replaces_every_worker_and_a_kept_connection_is_answered(
    tmp_path: Path,
) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        before = set(running.pids())
        kept = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(8)]
        assert {await ask_on(*each) for each in kept} <= before
        running.process.send_signal(signal.SIGHUP)
        await running.until_said("worker ready", times=3)
        first = running.lines("worker ready")[0]["pid"]
        for each in kept:  # one worker is retiring: each of its clients gets its response
            await ask_on(*each)
        for _, writer in kept:
            writer.close()
        await running.until_said("reloaded")
        assert not alive(int(str(first)))
        assert await running.ask() not in before


async def test_each_server_has_a_listener_of_its_own_that_outlives_the_workers(
    tmp_path: Path,
) -> None:
    async with supervisor(tmp_path, servers=("http", "grpc")) as running:
        await running.until_said("ready")
        other = int(str(running.lines("ready")[0]["grpc_port"]))
        assert other != running.port
        before = set(running.pids())
        assert await running.ask() in before
        assert await running.ask(other) in before
        running.process.send_signal(signal.SIGHUP)
        while not running.lines("reloaded"):
            # One that is starting accepts a moment before that is logged.
            assert await running.ask(other) in {*running.pids(), *running.children()}
        assert await running.ask(other) not in before


async def test_a_reload_into_a_crash_or_a_hang_leaves_the_old_workers(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        running.mood("crash")
        running.process.send_signal(signal.SIGHUP)
        await running.until_said("reload failed: the old workers go on")
        assert running.lines("worker did not get ready")[0]["status"] == 7
        assert await running.ask() in running.pids()
        assert all(alive(pid) for pid in running.pids())


async def test_workers_that_crash_at_the_first_start_fail_the_whole(tmp_path: Path) -> None:
    async with supervisor(tmp_path, mood="crash") as running:
        async with asyncio.timeout(PATIENCE):
            assert await running.process.wait() == 1
        assert running.lines("could not start")


async def test_a_worker_that_is_killed_is_replaced_while_the_other_serves(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        victim, other = running.pids()
        os.kill(victim, signal.SIGKILL)
        assert await running.ask() == other
        await running.until_said("worker ready", times=3)
        assert running.lines("worker died")[0]["status"] == -signal.SIGKILL


async def test_workers_whose_supervisor_is_killed_stop(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        running.process.kill()
        await running.process.wait()
    assert len(running.pids()) == 2  # and the context has seen both end


async def test_a_signal_while_workers_hang_at_their_start_ends_all(tmp_path: Path) -> None:
    async with supervisor(tmp_path, mood="hang") as running:
        await running.until(lambda: len(running.children()) == 2)
        pids = running.children()
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await running.process.wait()
        assert not any(alive(pid) for pid in pids)


async def test_a_worker_that_does_not_stop_is_killed_and_the_exit_code_shows_it(
    tmp_path: Path,
) -> None:
    async with supervisor(tmp_path, mood="deaf", stop_timeout=0.3) as running:
        await running.until_said("ready")
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await running.process.wait() == 3
        assert len(running.lines("worker did not stop and is killed")) == 2


async def test_a_second_signal_forces(tmp_path: Path) -> None:
    async with supervisor(tmp_path, mood="deaf", stop_timeout=60) as running:
        await running.until_said("ready")
        running.process.send_signal(signal.SIGTERM)
        await running.until_said("stopping")
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await running.process.wait() == 128 + signal.SIGTERM


async def test_a_port_in_use_is_reported_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with supervisor(tmp_path, port=taken.getsockname()[1]) as running:
            assert await running.process.wait() == 1
            assert "is in use" in str(running.lines("could not start"))
            said = (tmp_path / "stderr").read_text()
            assert said.startswith("small could not start: port ")
            assert "is in use" in said
