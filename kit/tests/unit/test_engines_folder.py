"""The data folder's lock, private folders and files, and the path of the socket."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline.engines import EngineError
from paceline.engines.folder import FolderLock, make_private_folder, write_private
from paceline.engines.socket_path import make_link, remove_link, runtime_folder, socket_folder


def test_a_second_holder_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path / "lock"), FolderLock(tmp_path / "lock")
    first.acquire()
    with pytest.raises(EngineError, match=rf"{tmp_path} is in use by process {os.getpid()}:"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_releasing_a_lock_that_is_not_held_does_nothing(tmp_path: Path) -> None:
    FolderLock(tmp_path / "lock").release()
    assert not (tmp_path / "lock").exists()


def test_a_shorter_pid_does_not_keep_digits_of_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("99999999999\n")
    lock = FolderLock(tmp_path / "lock")
    lock.acquire()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_private_folder_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        folder = make_private_folder(tmp_path / "cache", mode=0o755)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert make_private_folder(folder, mode=0o700) == folder


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(EngineError, match="not a folder that only this account may write to"):
        make_private_folder(tmp_path / "cache", mode=0o755)


def test_a_link_to_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").symlink_to(tmp_path)
    with pytest.raises(EngineError, match="not a folder that only this account may write to"):
        make_private_folder(tmp_path / "cache", mode=0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_account_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    os.chown(tmp_path / "cache", 65534, 65534)
    with pytest.raises(EngineError, match="not a folder that only this account may write to"):
        make_private_folder(tmp_path / "cache", mode=0o755)


def test_a_folder_that_cannot_be_created_is_an_error_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"cannot create the folder .*Not a directory"):
        make_private_folder(tmp_path / "file" / "cache", mode=0o755)


def test_a_private_file_is_replaced_and_does_not_follow_links(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    (tmp_path / "password").symlink_to(elsewhere)
    (tmp_path / "password.new").symlink_to(elsewhere)
    write_private(tmp_path / "password", "new", uid=os.geteuid(), gid=os.getegid())
    assert elsewhere.read_text() == "kept"
    assert (tmp_path / "password").read_text() == "new"
    assert (tmp_path / "password").lstat().st_mode & 0o777 == 0o600


RUNTIME = Path("/run/paceline")


@dataclass(frozen=True)
class Address:
    id: str
    cluster: str
    direct: bool


@pytest.mark.parametrize(
    "case",
    [
        Address("short", "/srv/data/cluster", direct=True),
        Address("the longest", "/" + "d" * 87, direct=True),
        Address("one too long", "/" + "d" * 88, direct=False),
        Address("letters of two bytes count twice", "/" + "ä" * 44, direct=False),
        Address("a comma", "/srv/a,b/cluster", direct=False),
        Address("a space", "/srv/my data/cluster", direct=False),
        Address("a question mark", "/srv/what?/cluster", direct=False),
    ],
    ids=lambda case: case.id,
)
def test_clients_use_the_folder_itself_when_every_driver_can(case: Address) -> None:
    folder = socket_folder(Path(case.cluster), RUNTIME)
    assert (folder == Path(case.cluster)) is case.direct
    assert case.direct or folder.parent == RUNTIME
    assert len(bytes(folder / ".s.PGSQL.65535")) <= 103
    assert folder == socket_folder(Path(case.cluster), RUNTIME), "stable between starts"


def test_two_deep_folders_have_two_links() -> None:
    deep = Path("/" + "d" * 200)
    assert socket_folder(deep / "a", RUNTIME) != socket_folder(deep / "b", RUNTIME)


def test_the_link_points_to_the_cluster_and_is_replaced_when_it_did_not(
    tmp_path: Path,
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    link = runtime / "0123"
    link.symlink_to("/nowhere")
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    make_link(cluster, link)
    assert link.resolve() == cluster
    assert list(runtime.iterdir()) == [link]
    remove_link(cluster, link)
    assert list(runtime.iterdir()) == []
    assert cluster.exists()


def test_no_link_is_made_for_a_folder_that_needs_none(tmp_path: Path) -> None:
    make_link(tmp_path, tmp_path)
    remove_link(tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_links_are_in_the_runtime_folder_of_the_session_if_there_is_one(tmp_path: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert runtime_folder(environment, tmp_path.stat().st_uid or 1) in {
        tmp_path / "paceline",
        runtime_folder({}, 1),  # the tests run as root: the folder is not that of uid 1
    }
    assert runtime_folder(environment, 0) == Path("/run/paceline")
    assert runtime_folder({"XDG_RUNTIME_DIR": "relative"}, 7).name == "paceline-7"
