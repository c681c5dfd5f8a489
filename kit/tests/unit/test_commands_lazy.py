"""A list of commands imports nothing; a command that is called is the real one."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest
import typer
from typer import Context
from typer.main import get_command
from typer.testing import CliRunner

from paceline.commands.lazy import LazyCommand, LazyProgram

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


PROGRAM = LazyProgram(
    "greet",
    "1.2",
    COMMANDS,
    description="Greetings, in all the ways in which people greet each other, and in some others.",
)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[greetings.__module__])
    return PROGRAM.typer()


@dataclass(frozen=True)
class Call:
    """Arguments with what they show without a command: on which stream, and the exit code."""

    name: str
    words: list[str]
    out: str
    code: int = 0


CALLS = [
    Call("help", ["--help"], "stdout"),
    Call("version", ["--version"], "stdout"),
    Call("nothing", [], "stderr", code=2),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
@pytest.mark.parametrize("columns", ["40", "72", "200"])
def test_the_program_shows_what_typer_would_without_importing_it(call: Call, columns: str) -> None:
    source = f"""
import sys
from paceline.commands import LazyCommand, LazyProgram
program = LazyProgram(
    {PROGRAM.name!r}, {PROGRAM.version!r},
    [LazyCommand(*each) for each in {[(each.name, each.help, each.where) for each in COMMANDS]!r}],
    description={PROGRAM.description!r},
)
sys.argv = ["/a/folder/greet", *{call.words!r}]
try:
    program()
finally:
    assert not {{"typer", "click", "rich"}} & set(sys.modules), "a list of commands imports nothing"
"""
    ours = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, "COLUMNS": columns}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    theirs = CliRunner(env={"COLUMNS": columns}).invoke(
        PROGRAM.typer(), call.words, prog_name="greet"
    )
    assert (ours.returncode, ours.stdout, ours.stderr) == (call.code, theirs.stdout, theirs.stderr)
    assert getattr(ours, call.out)
    assert theirs.exit_code == call.code


def test_the_list_has_typers_own_options_and_every_command_in_its_order() -> None:
    text = PROGRAM.help_text("greet")
    options, _, commands = text.partition("Options:")[2].partition("Commands:")
    assert [line.split()[0] for line in commands.splitlines() if line] == [
        "hello",
        "many",
        "nowhere",
    ]
    typers = get_command(PROGRAM.typer())
    own = typers.get_params(Context(typers))
    assert {option for each in own for option in each.opts} == set(
        re.findall(r"^  (--\S+)", options, re.MULTILINE)
    )


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
