"""The commands that every service has, of a small one: what they print, need and refuse."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import typer
from doctor_runs import doctor_run
from small_service import SERVICE, Config
from typer.testing import CliRunner

from paceline.auth import HmacSecrets, JwtVerifier
from paceline.clock import SystemClock
from paceline.commands import (
    LazyCommand,
    get_settings,
    list_commands,
    new_cli,
    run_once,
)
from paceline.commands.doctor.command import list_checks
from paceline.commands.settings import PostgresSettings, RedisSettings
from paceline.errors import Code, Error

SECRET = "q8Zr5vNw2kLx7TbYc4HsUj9GdFm3PaEo"


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Outcome]:
    """The program, in an empty folder and with these variables only."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str, **variables: str) -> Outcome:
        result = CliRunner(env=variables).invoke(new_cli(SERVICE), words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.mark.parametrize("command", list_commands(SERVICE), ids=lambda command: command.name)
def test_every_command_loads_under_its_name(command: LazyCommand) -> None:
    assert command.load().name == command.name
    assert len(command.help) <= 54, "or the list cuts it"


def test_a_service_without_migrations_has_no_migrate() -> None:
    names = [command.name for command in list_commands(replace(SERVICE, migrations=""))]
    assert "migrate" not in names
    assert "token" in names


def test_the_version_is_printed(run: Callable[..., Outcome]) -> None:
    assert run("--version").out == "small 1.2.3\n"


def test_a_token_is_made_for_the_settings_it_will_be_verified_by(
    run: Callable[..., Outcome],
) -> None:
    made = run(
        "token",
        "--sub",
        "ada",
        "--scope",
        "things:read",
        SMALL_JWT_SECRET=SECRET,
        SMALL_JWT_ISSUER="me",
    )
    assert made.code == 0
    verifier = JwtVerifier([HmacSecrets(SECRET.encode())], SystemClock(), issuer="me")
    principal = verifier.verify(made.out.strip())
    assert (principal.subject, principal.scopes) == ("ada", frozenset({"things:read"}))


def test_a_token_needs_a_secret_and_its_help_names_the_services_own_words(
    run: Callable[..., Outcome],
) -> None:
    missing = run("token", "--sub", "ada")
    assert (missing.code, "SMALL_JWT_SECRET: required" in missing.err) == (2, True)
    shown = run("token", "--help").out
    assert "SMALL_JWT_SECRET" in shown
    assert "things:read" in shown
    assert "small token --sub ada" in shown


def test_the_settings_are_shown_with_their_variables_and_origins(
    run: Callable[..., Outcome],
) -> None:
    shown = run("config", "--json", SMALL_COLOUR="red", SMALL_JWT_SECRET=SECRET)
    rows = {row["variable"]: row for row in json.loads(shown.out)}
    assert rows["SMALL_COLOUR"]["value"] == "red"
    assert SECRET not in shown.out


def test_dead_letters_need_a_queue(run: Callable[..., Outcome], tmp_path: Path) -> None:
    missing = run("dead", "list", "--data-dir", str(tmp_path))
    assert missing.code == 2
    assert "SMALL_NATS_URL: required, not set" in missing.err


def test_migrate_lists_what_is_missing_and_explains_itself(run: Callable[..., Outcome]) -> None:
    missing = run("migrate", "version")
    assert (missing.code, "SMALL_DATABASE_URL: required" in missing.err) == (2, True)
    assert "Example: migrate up" in run("migrate", "up", "--help").out


def test_top_takes_its_token_from_the_services_variable(run: Callable[..., Outcome]) -> None:
    assert "SMALL_ADMIN_TOKEN" in run("top", "--help").out
    away = run("top", "http://127.0.0.1:1", "--once")
    assert (away.code, "is away" in away.err) == (1, True)
    assert run("top", "ftp://x").code == 2


async def test_doctor_makes_the_checks_of_the_settings_and_the_services_own() -> None:
    config = Config.model_validate(
        {"database_url": "postgresql://a@127.0.0.1:1/a", "nats_url": "nats://127.0.0.1:1"}
    )
    checks = list_checks(SERVICE, config, doctor_run())
    assert [*checks] == [
        "container", "disk", "ports", "admin", "secrets", "postgres", "schema", "nats", "colour",
    ]  # fmt: skip
    assert [each.saw for each in await checks["colour"]()] == ["blue, for serve of app"]
    assert [each.saw for each in await checks["disk"]()] == ["of no use to it"]


def test_a_command_whose_settings_a_service_has_not_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert get_settings(SERVICE, PostgresSettings) is Config
    with pytest.raises(typer.Exit) as caught:
        get_settings(SERVICE, RedisSettings)
    assert caught.value.exit_code == 2
    assert "the settings of small do not include RedisSettings" in capsys.readouterr().err


@dataclass
class Recorded:
    """A service that records what happens to it."""

    name: str
    events: list[str] = field(default_factory=list[str])

    async def start(self) -> None:
        self.events.append(f"start {self.name}")

    async def stop(self) -> None:
        self.events.append(f"stop {self.name}")


async def refuse() -> int:
    raise Error(Code.UNAVAILABLE, "no database") from OSError("refused")


async def interrupt() -> int:
    raise KeyboardInterrupt


async def answer() -> int:
    return 42


def test_services_run_while_a_one_off_command_works() -> None:
    events: list[str] = []
    services = [Recorded("a", events), Recorded("b", events)]
    assert run_once(services, answer) == 42
    assert events == ["start a", "start b", "stop b", "stop a"]


@pytest.mark.parametrize(("work", "raised"), [(refuse, typer.Exit), (interrupt, KeyboardInterrupt)])
def test_services_are_stopped_when_a_one_off_command_fails(
    work: Callable[[], Awaitable[int]],
    raised: type[BaseException],
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = Recorded("a")
    with pytest.raises(raised):
        run_once([service], work)
    assert service.events == ["start a", "stop a"]
    assert capsys.readouterr().err == ("no database: refused\n" if work is refuse else "")
