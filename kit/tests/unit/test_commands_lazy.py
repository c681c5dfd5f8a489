"""A list of commands imports nothing; a command that is called is the real one."""

import sys

import pytest
import typer
from typer.testing import CliRunner

from paceline.commands.lazy import LazyCommand, lazy_group

HERE = f"{__name__}:greetings"


def greetings() -> typer.Typer:
    app = typer.Typer()

    @app.command("hello", epilog="Example: hello --loud")
    def hello(*, loud: bool = False) -> None:
        """Say hello, all of it."""
        typer.echo("HELLO" if loud else "hello")

    @app.command("other")
    def other() -> None:
        """Never listed."""

    return app


def group() -> typer.Typer:
    app = typer.Typer(name="many")
    app.command("one")(lambda: typer.echo("one"))
    app.command("two")(lambda: typer.echo("two"))
    return app


COMMANDS = (
    LazyCommand("hello", "Say hello.", HERE),
    LazyCommand("many", "Several.", f"{__name__}:group"),
    LazyCommand("nowhere", "Not there.", "no_such_module:function"),
)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[greetings.__module__])
    app = typer.Typer(cls=lazy_group(COMMANDS), rich_markup_mode=None, no_args_is_help=True)
    app.callback()(lambda: None)
    return app


def test_the_list_needs_no_module(program: typer.Typer) -> None:
    shown = CliRunner().invoke(program, ["--help"])
    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.stdout.partition("Commands:")[2].split("\n") if line.strip()] == [
        "hello", "many", "nowhere",
    ]  # fmt: skip


def test_a_command_has_its_own_options_and_help(program: typer.Typer) -> None:
    runner = CliRunner()
    assert runner.invoke(program, ["hello", "--loud"]).stdout == "HELLO\n"
    assert runner.invoke(program, ["hello", "--quiet"]).exit_code == 2
    shown = runner.invoke(program, ["hello", "--help"]).stdout
    assert "all of it" in shown
    assert "Example: hello --loud" in shown


def test_a_group_has_its_commands(program: typer.Typer) -> None:
    assert CliRunner().invoke(program, ["many", "two"]).stdout == "two\n"
    assert "one" in CliRunner().invoke(program, ["many", "--help"]).stdout


def test_a_command_that_is_not_there_says_so(program: typer.Typer) -> None:
    result = CliRunner().invoke(program, ["nowhere"])
    assert isinstance(result.exception, ModuleNotFoundError)
    with pytest.raises(LookupError):
        LazyCommand("absent", "", HERE).load()
