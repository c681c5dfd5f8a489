"""The commands that every service has, of a small one: what they print, need and refuse."""

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import small_service
import typer
from doctor_runs import doctor_run
from small_service import SERVICE, Config
from typer.testing import CliRunner

from paceline.auth import HmacSecrets, JwtVerifier
from paceline.clock import SystemClock
from paceline.commands import (
    AuthSettings,
    HttpSettings,
    LazyCommand,
    ProcessSpec,
    ServiceSpec,
    Wiring,
    add_postgres,
    get_settings,
    list_commands,
    new_cli,
    run_once,
    serve_http,
)
from paceline.commands.doctor import Check, DoctorRun
from paceline.commands.doctor.command import list_checks
from paceline.commands.process import new_log, wire, wire_or_fail
from paceline.commands.settings import (
    PostgresSettings,
    RedisSettings,
    require_own_ports,
    require_worker_timeout,
)
from paceline.errors import Code, Error


class Single(HttpSettings, AuthSettings):
    """The settings of a service in one file."""


def build(config: Single, wiring: Wiring) -> None:
    """Nothing to wire."""


def no_checks(config: Single, run: DoctorRun) -> Mapping[str, Check]:
    return {}


def paint_all(colour: str = "blue") -> None:
    """Paint all of it.

    And wait until it is dry.
    """
    typer.echo(f"all {colour}")


def no_help() -> None: ...


SINGLE = ServiceSpec(
    name="single", config=Single, build=build, scopes=("walls:paint",), commands=[paint_all]
)
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
        result = CliRunner(env=variables).invoke(new_cli(SERVICE).typer(), words)
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


def test_a_list_has_no_command_that_the_settings_have_no_use_for() -> None:
    names = [command.name for command in list_commands(SINGLE)]
    after = ["token", "config", "doctor", "top", "health"]
    assert names == ["run", "serve", "paint-all", *after]
    worker = [command.name for command in list_commands(replace(SINGLE, works=True))]
    assert worker == ["run", "serve", "worker", "paint-all", *after]


def test_a_service_is_stated_in_objects_as_well_as_in_texts(tmp_path: Path) -> None:
    spec = replace(SINGLE, migrations=tmp_path, checks=no_checks)
    assert spec.get_config() is Single
    assert spec.get_build() is build
    assert spec.get_migrations() == tmp_path
    assert spec.get_scopes() == ("walls:paint",)
    assert spec.get_checks() is no_checks
    assert SERVICE.get_config() is Config
    assert SERVICE.get_scopes() == small_service.SCOPES


def test_a_function_is_a_command_of_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    runner = CliRunner()
    assert (
        runner.invoke(new_cli(SINGLE).typer(), ["paint-all", "--colour", "red"]).stdout
        == "all red\n"
    )
    listed = runner.invoke(new_cli(SINGLE).typer(), ["--help"]).stdout
    assert "paint-all  Paint all of it." in listed
    with pytest.raises(ValueError, match="no_help: a command's docstring is its help"):
        list_commands(replace(SINGLE, commands=[no_help]))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (Single(), "config is an instance; write the class itself: config=Single"),
        (int, "config is <class 'int'>; write a class of settings, such as class int(HttpSettings, AuthSettings)"),
        (3, "config is 3; write a class of settings, such as class Config(HttpSettings, AuthSettings)"),
    ],
)  # fmt: skip
def test_what_is_no_class_of_settings_is_told(
    config: Any, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        new_cli(replace(SINGLE, config=config))
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"ServiceSpec of single: {says}\n"


async def async_build(config: Single, wiring: Wiring) -> None: ...
def one_argument(config: Single) -> None: ...
def swapped(wiring: Wiring, config: Single) -> None: ...


def needs_another_scope(config: Single, wiring: Wiring) -> None:
    async def handler() -> None: ...

    wiring.app.group().get("/walls", handler, scopes=["walls:look"])


def needs_a_database(config: Any, wiring: Wiring) -> None:
    add_postgres(wiring, config)


def takes_a_wiring_for_settings(config: Any, wiring: Any) -> None:
    add_postgres(config, wiring)


def has_no_ingress(config: Any, wiring: Any) -> None:
    serve_http(wiring, config, wiring)


BUILD = "write def build(config: Single, wiring: Wiring) -> None"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (async_build, f"it is async, but it only wires; {BUILD}"),
        (one_argument, f"it takes 1 of the two arguments; {BUILD}"),
        (swapped, f"the settings come first; {BUILD}"),
        (None, f"build: it is None; {BUILD}, and give build itself"),
        (needs_another_scope, "GET /walls: it needs the scope walls:look; add it to scopes of ServiceSpec"),
        (needs_a_database, "add_postgres needs PostgresSettings: add PostgresSettings to the bases of Single"),
        (takes_a_wiring_for_settings, "add_postgres needs PostgresSettings: it got Wiring; write add_postgres(wiring, config)"),
        (has_no_ingress, "a server needs an Ingress and got Wiring; write new_ingress(wiring, config) after config"),
    ],
)  # fmt: skip
def test_a_wiring_that_cannot_be_is_told_in_a_sentence(
    wrong: Any, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    process = ProcessSpec(service="single", version="1", listens=False)
    with pytest.raises(typer.Exit) as caught:
        wire_or_fail(replace(SINGLE, build=wrong), Single(), new_log(Single()), process)
    assert caught.value.exit_code == 2
    line = capsys.readouterr().err
    assert line.endswith(f"{says}\n")
    assert line.count("\n") == 1
    if "def build" in says and wrong is not None:
        assert line.startswith(f"build ({wrong.__name__}, test_commands_service.py:")


def test_servers_of_one_process_cannot_share_a_port() -> None:
    config = Single(port=9000, admin_port=9000)
    process = ProcessSpec(service="single", version="1")
    with pytest.raises(Error, match="APP_PORT and APP_ADMIN_PORT are both 9000; give each server"):
        wire(SINGLE, config, new_log(config), process)
    require_own_ports(Single(port=0, admin_port=0))


def test_a_healthy_worker_is_not_too_silent_for_its_timeout() -> None:
    with pytest.raises(Error, match=r"APP_WORKER_TIMEOUT is 2s; give it at least 3s, .* 0s for"):
        require_worker_timeout(Single(worker_timeout=2))
    for allowed in (0, 3, 60):
        require_worker_timeout(Single(worker_timeout=allowed))


def test_a_script_is_named_as_it_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    main.__spec__ = None
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", ["my app.py", "run"])
    assert SINGLE.program == f"{Path(sys.executable).name} 'my app.py'"
    main.__spec__ = ModuleSpec("my.app", None)
    assert SINGLE.program == "single", "after python -m the file is not how it was called"


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


def test_a_token_has_only_scopes_that_there_are(run: Callable[..., Outcome]) -> None:
    wrong = run("token", "--sub", "ada", "--scope", "thing:read", SMALL_JWT_SECRET=SECRET)
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == (
        "there is no scope thing:read; did you mean things:read?\n"
        "The scopes are: things:read, things:write\n"
    )
    made = run("token", "--sub", "ada", "--all-scopes", SMALL_JWT_SECRET=SECRET)
    verifier = JwtVerifier([HmacSecrets(SECRET.encode())], SystemClock())
    assert verifier.verify(made.out.strip()).scopes == {"things:read", "things:write"}


def test_the_help_of_settings_has_groups_types_defaults_and_choices(
    run: Callable[..., Outcome],
) -> None:
    shown = run("serve", "--help", COLUMNS="80").out
    assert "Each option is a variable, too: --log-level is SMALL_LOG_LEVEL." in shown
    headings = [line[:-1] for line in shown.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == [
        "Options", "This service", "Database", "Message queue", "Tokens and rate limits",
        "Processes", "Limits", "Admin port", "Logs and traces",
    ]  # fmt: skip
    own = shown.split("This service:\n")[1].split("\n\n")[0]
    assert own == "  --colour TEXT                 Of everything. [default: blue]"
    for option in [
        "--database-url URL ", "--admin-port PORT ", "--max-body BYTES ", "--drain-delay DURATION ",
        "--jwt-secret SECRET ", "--workers NUMBER ", "--data-dir PATH ", "--reuse-port [true|false]",
        "--log-level [debug|info|warning|error]", "--log-format [auto|json|pretty]",
    ]:  # fmt: skip
        assert f"  {option}" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("serve --log-level ", ["debug", "info", "warning", "error"]),
        ("serve --log-format j", ["json"]),
        ("serve --reuse-port ", ["true", "false"]),
        ("token --scope things:w", ["things:write"]),
        ("doctor --for ", ["serve", "worker"]),
        ("tok", ["token"]),
        ("serve --admin-h", ["--admin-host"]),
    ],
)
def test_the_shell_completes_values(
    words: str, values: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"small {words}"
    typed = line.split()
    variables = {
        "_SMALL_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(typed) if line.endswith(" ") else len(typed) - 1),
    }
    result = CliRunner(env=variables).invoke(new_cli(SERVICE).typer(), [], prog_name="small")
    assert result.stdout.split() == values


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
