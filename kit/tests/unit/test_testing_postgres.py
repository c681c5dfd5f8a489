"""The folder of a test's server: there for the block, and swept up after a session that died."""

import os
import subprocess

import pytest

from paceline.testing.postgres_servers import scratch_folder


def test_a_scratch_folder_is_there_for_its_block_and_ours_alone() -> None:
    with scratch_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").touch()
    assert not folder.exists()


def test_what_a_killed_session_left_is_removed_and_what_a_living_one_has_is_not() -> None:
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    with scratch_folder() as folder:
        abandoned = folder.with_name(folder.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
        (abandoned / "cluster").mkdir(parents=True)
        with scratch_folder() as other:
            assert folder.exists()
            assert other.exists()
            assert not abandoned.exists()


@pytest.mark.parametrize("name", ["paceline-test-", "paceline-test-x-y", "paceline-test-1-init"])
def test_what_only_looks_alike_is_left_alone(name: str) -> None:
    with scratch_folder() as folder:
        alike = folder.with_name(name)
        alike.mkdir()
        try:
            with scratch_folder():
                assert alike.exists()
        finally:
            alike.rmdir()
