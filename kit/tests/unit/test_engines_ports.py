"""What a data folder stores: ports and secrets; and its lock when a server has inherited it."""

import asyncio
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline.engines import EngineError, free_ports, read_or_create_text
from paceline.engines.folder import FolderLock
from paceline.engines.ports import read_or_choose_ports


def test_free_ports_are_different_and_below_those_of_outgoing_connections() -> None:
    found = free_ports(5)
    assert len(set(found)) == 5
    assert all(20_000 <= port < 32_768 for port in found)


def test_ports_are_chosen_once_and_stored(tmp_path: Path) -> None:
    first = read_or_choose_ports(tmp_path / "ports", 2)
    assert read_or_choose_ports(tmp_path / "ports", 2) == first
    assert (tmp_path / "ports").read_text() == f"{first[0]} {first[1]}"


@dataclass(frozen=True)
class Broken:
    id: str
    text: str


@pytest.mark.parametrize(
    "case",
    [
        Broken("nothing", ""),
        Broken("too few", "4222"),
        Broken("no number", "4222 port"),
        Broken("out of range", "4222 70000"),
        Broken("not even text", "\x00\x00"),
    ],
    ids=lambda case: case.id,
)
def test_a_broken_file_of_ports_is_an_error_that_says_what_to_do(
    case: Broken, tmp_path: Path
) -> None:
    (tmp_path / "ports").write_text(case.text)
    with pytest.raises(EngineError, match="does not hold 2 ports: remove it"):
        read_or_choose_ports(tmp_path / "ports", 2)


def test_a_text_is_created_once_for_its_owner_only(tmp_path: Path) -> None:
    made = iter("ab")
    path = tmp_path / "new" / "secret"
    assert read_or_create_text(path, lambda: next(made)) == "a"
    assert read_or_create_text(path, lambda: next(made)) == "a"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_concurrent_first_calls_return_one_text(tmp_path: Path) -> None:
    path = tmp_path / "secret"

    def somebody_is_faster() -> str:
        path.write_text("theirs")
        return "ours"

    assert read_or_create_text(path, somebody_is_faster) == "theirs"
    assert list(tmp_path.iterdir()) == [path]


HOLDER = """
import subprocess, sys
from pathlib import Path
from paceline.engines.folder import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire()
server = subprocess.Popen(["/bin/sleep", "60"], pass_fds=[lock.descriptor], stdout=subprocess.DEVNULL)
print(server.pid, flush=True)
"""


def server_of_a_dead_holder(path: Path) -> int:
    """A process that inherited the lock of a holder that is dead."""
    said = subprocess.run(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True, check=True
    )
    return int(said.stdout)


async def test_a_server_keeps_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    server = await asyncio.to_thread(server_of_a_dead_holder, tmp_path / "lock")
    lock = FolderLock(tmp_path / "lock")
    try:
        with pytest.raises(EngineError, match=r"in use by process \d+"):
            await lock.acquire_within(0.05)
    finally:
        os.kill(server, 9)
    await lock.acquire_within(10.0)
    assert lock.held
    lock.release()


async def test_a_live_holder_is_not_waited_for(tmp_path: Path) -> None:
    holder, lock = FolderLock(tmp_path / "lock"), FolderLock(tmp_path / "lock")
    holder.acquire()
    with pytest.raises(EngineError, match="in use"):
        await lock.acquire_within(3600.0)
    holder.release()


def test_a_lock_that_is_not_held_cannot_be_inherited(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="not locked"):
        FolderLock(tmp_path / "lock").descriptor  # noqa: B018 - raises


def test_a_port_in_use_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as server:
        assert server.getsockname()[1] not in free_ports(50)
