"""A data folder has one instance, and commands that lack a setting find it there."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from running_instance import running_instance
from small_service import SERVICE
from typer.testing import CliRunner

from paceline.auth import HmacSecrets, JwtVerifier
from paceline.clock import SystemClock
from paceline.commands import find_instance, new_cli
from paceline.commands.instance import InstanceRunning
from paceline.errors import Error

SECRET = "q8Zr5vNw2kLx7TbYc4HsUj9GdFm3PaEo"
OTHER = "Zr5vNw2kLx7TbYc4HsUj9GdFm3PaEoq8"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The program, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str, **variables: str) -> tuple[int, str, str]:
        result = CliRunner(env=variables).invoke(new_cli(SERVICE).typer(), words)
        return result.exit_code, result.stdout, result.stderr

    return invoke


def test_what_runs_is_found_while_it_runs(tmp_path: Path) -> None:
    assert find_instance(tmp_path / "none") is None
    assert not (tmp_path / "none").exists(), "looking creates nothing"
    with running_instance(tmp_path, {"database_url": "postgresql://a@b/c"}, url="http://h:1"):
        found = find_instance(tmp_path)
        assert found is not None
        assert (found.pid, found.url, found.ports) == (os.getpid(), "http://h:1", frozenset({1}))
        assert found.settings == {"database_url": "postgresql://a@b/c"}
        assert stat.S_IMODE((tmp_path / "instance.json").stat().st_mode) == 0o600
    assert find_instance(tmp_path) is None
    assert not (tmp_path / "instance.json").exists()


def test_a_second_one_is_told_who_runs_where_and_since_when(tmp_path: Path) -> None:
    with running_instance(tmp_path, {}, url="http://127.0.0.1:8080") as first:
        with pytest.raises(InstanceRunning) as refused, running_instance(tmp_path, {}):
            pass
        said = str(refused.value)
    assert f"`small run` (pid {os.getpid()}) already runs on the data folder {tmp_path}" in said
    assert f"since {first.started.astimezone():%H:%M:%S} at http://127.0.0.1:8080" in said
    assert "--data-dir" in said


def test_the_file_of_one_that_was_killed_is_not_believed_and_is_replaced(tmp_path: Path) -> None:
    with running_instance(tmp_path, {"database_url": "postgresql://old/c"}):
        left = (tmp_path / "instance.json").read_bytes()
    (tmp_path / "instance.json").write_bytes(left)
    assert find_instance(tmp_path) is None
    with running_instance(tmp_path, {}):
        found = find_instance(tmp_path)
        assert found is not None
        assert found.settings == {}


def test_a_data_folder_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(Error, match="cannot use the data folder"),
        running_instance(tmp_path / "file", {}),
    ):
        pass


def test_a_setting_that_is_not_given_is_the_instances(run: Run, tmp_path: Path) -> None:
    settings = {"nats_url": "nats://its:4222", "jwt_secret": SECRET}
    with running_instance(tmp_path / ".data", settings):
        _, shown, _ = run("config", SMALL_NATS_URL="nats://given:4222")
        rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in shown.splitlines()}
        assert rows["SMALL_NATS_URL"] == ["nats://given:4222", "environment"]
        assert rows["SMALL_JWT_SECRET"][1] == f"small run, pid {os.getpid()}, on .data"
        _, shown, _ = run("config", "--data-dir", "elsewhere")
        assert "small run" not in shown


def test_a_token_is_signed_with_the_instances_secret_or_with_what_run_has_kept(
    run: Run, tmp_path: Path
) -> None:
    def signed_with(secret: str) -> bool:
        code, token, _ = run("token", "--sub", "ada")
        assert code == 0
        verifier = JwtVerifier([HmacSecrets(secret.encode())], SystemClock())
        return verifier.verify(token.strip()).subject == "ada"

    (tmp_path / ".data").mkdir()
    (tmp_path / ".data/jwt-secret").write_text(SECRET)
    assert signed_with(SECRET)
    with running_instance(tmp_path / ".data", {"jwt_secret": OTHER}):
        assert signed_with(OTHER)


def test_without_an_instance_the_error_says_what_to_give_and_where_it_looked(
    run: Run, tmp_path: Path
) -> None:
    code, _, missing = run("migrate", "version")
    assert (code, "SMALL_DATABASE_URL: required" in missing) == (2, True)
    assert "Give it, or start `run`" in missing
    assert f"there is no .data in {tmp_path}: --data-dir says where it is" in missing
    (tmp_path / ".data").mkdir()
    _, _, missing = run("migrate", "version")
    assert "none runs on .data" in missing


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_what_is_for_production_does_not_look_for_an_instance(
    run: Run, tmp_path: Path, command: str
) -> None:
    settings = {"nats_url": "nats://its:4222", "database_url": "postgresql://a@b/c"}
    with running_instance(tmp_path / ".data", settings):
        code, _, missing = run(command)
    assert (code, "SMALL_DATABASE_URL: required" in missing) == (2, True)
    assert "start `run`" not in missing


def test_top_watches_the_instance(run: Run, tmp_path: Path) -> None:
    with running_instance(tmp_path / ".data", {}, admin="http://127.0.0.1:1"):
        code, _, away = run("top", "--once")
    assert (code, "http://127.0.0.1:1 is away" in away) == (1, True)
