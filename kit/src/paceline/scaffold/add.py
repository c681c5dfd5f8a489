"""``paceline add``: a resource, a consumer, a command or a migration, in the project one is in."""

import keyword
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from paceline.errors import ValidationError
from paceline.postgres.migrate import SourceError, create_migration
from paceline.scaffold.changes import Changes
from paceline.scaffold.consumers import Consumer
from paceline.scaffold.errors import ScaffoldError
from paceline.scaffold.fields import FieldLines, is_sql_word, parse_fields
from paceline.scaffold.naming import ResourceName
from paceline.scaffold.one_command import command_files, command_insertions
from paceline.scaffold.project import Project, find_project
from paceline.scaffold.slicing import GRPC, Slice, generated_files
from paceline.scaffold.template import running_template
from paceline.scaffold.tools import check_tools, report_errors
from paceline.scaffold.wiring_edits import Insertion, resource_insertions

_DIGITS: Final = 6
NATS: Final = "nats"
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the diff, and change nothing.")]


def add_commands() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(name="add", help="Add to the project here.", no_args_is_help=True)
    app.command(
        "resource",
        epilog="Example: paceline add resource invoice number:str amount:int due:date?",
    )(report_errors(_add_resource))
    app.command(
        "consumer", epilog="Example: paceline add consumer payments --subject payments.received"
    )(report_errors(_add_consumer))
    app.command("command", epilog="Example: paceline add command reindex")(
        report_errors(_add_command)
    )
    app.command("migration", epilog="Example: paceline add migration index_invoices")(
        report_errors(_add_migration)
    )
    return app


def _add_resource(
    name: Annotated[str, typer.Argument(help="One of them, in lower case: invoice, line_item.")],
    fields: Annotated[
        list[str] | None,
        typer.Argument(
            help="NAME:TYPE: str, int, float, bool, date, datetime, uuid; due:date? may be missing."
        ),
    ] = None,
    *,
    plural: Annotated[str, typer.Option("--plural", help="If it is irregular: people.")] = "",
    no_grpc: Annotated[bool, typer.Option("--no-grpc", help="HTTP only.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Add a resource: from the table to HTTP and gRPC, with tests and a page."""
    project = find_project(Path.cwd())
    resource = ResourceName.parse(f"{name}/{plural}" if plural else name)
    grpc = GRPC not in project.choices.without and not no_grpc
    check_tools(protos=grpc)
    changes = resource_changes(project, resource, fields or [], grpc=grpc)
    if dry_run:
        sys.stdout.writelines(changes.diff())
        return
    changes.apply()
    program = project.choices.name.distribution
    package = project.choices.name.package
    typer.echo(
        f"{resource.singular}: {len(changes.made)} files made, {len(changes.edited)} changed; git"
        " diff shows these"
    )
    typer.echo(f"  ./{program} run --reload   # migrates and serves it: see /docs")
    rules = f"src/{package}/domain/{resource.plural}.py"
    typer.echo(f"  make test                  # then what no type can say: {rules}")


def resource_changes(
    project: Project, resource: ResourceName, fields: Sequence[str], *, grpc: bool
) -> Changes:
    """What adding a resource changes. Errors: ScaffoldError."""
    parsed = parse_fields(fields)
    service = project.choices.name
    clone = Slice(running_template(), service, grpc=grpc)
    number = next_migration(project.package / "migrations")
    check_free(project, clone.paths(resource, number).values())
    _check_table(project, resource)
    made = clone.clone(resource, FieldLines(service.package, resource, parsed), number)
    insertions = resource_insertions(service.package, resource, grpc=grpc)
    return Changes(
        project,
        made=made,
        edited=inserted(project, insertions),
        generated=generated_files(resource, service.package) if grpc else (),
    )


def inserted(project: Project, insertions: Sequence[Insertion]) -> dict[str, str]:
    """The files with the lines in them. Errors: ScaffoldError for a file or anchor not there."""
    edited: dict[str, str] = {}
    for each in insertions:
        edited[each.path] = each.insert(read_wiring(project, each.path))
    return edited


def read_wiring(project: Project, path: str) -> str:
    """A file in which parts are wired. Errors: ScaffoldError when it is not there."""
    file = project.root / path
    if not file.is_file():
        raise ScaffoldError(f"{path} is not there, but lines of this belong into it: restore it")
    return file.read_text()


def check_free(project: Project, made: Iterable[str]) -> None:
    """Errors: ScaffoldError when a file to be made exists."""
    for path in made:
        if (project.root / path).exists():
            raise ScaffoldError(f"{path} exists already: choose another name", usage=True)


def _check_table(project: Project, resource: ResourceName) -> None:
    table = resource.plural
    if is_sql_word(table):
        raise ScaffoldError(
            f"{table!r} is a word of SQL, and no name of a table: give another with --plural",
            usage=True,
        )
    for file in sorted((project.package / "migrations").glob("*.up.sql")):
        if re.search(rf"(?i)\bCREATE TABLE (IF NOT EXISTS )?\"?{table}\b", file.read_text()):
            raise ScaffoldError(
                f"{file.name} makes a table {table} already: choose another name", usage=True
            )


def next_migration(folder: Path) -> str:
    """The number after the highest in a folder of migrations."""
    used = [
        int(found[0]) for path in folder.glob("*.sql") if (found := re.match(r"\d+", path.name))
    ]
    return f"{max(used, default=0) + 1:0{_DIGITS}d}"


def _add_consumer(
    name: Annotated[str, typer.Argument(help="What it handles, in lower case: payments.")],
    *,
    subject: Annotated[str, typer.Option("--subject", help="Of its messages.")],
    dry_run: DryRun = False,
) -> None:
    """Add a consumer of the queue, whose messages have their effect exactly once."""
    project = find_project(Path.cwd())
    _check_word(name)
    if NATS in project.choices.without:
        raise ScaffoldError(
            "this project was made without nats, so it has no worker and no inbox: make one with"
            " nats (paceline new), and take over what you need",
            usage=True,
        )
    consumer = Consumer(name, subject, project)
    check_tools(protos=False)
    changes = _changes(project, consumer.files(), consumer.insertions())
    if dry_run:
        sys.stdout.writelines(changes.diff())
        return
    changes.apply()
    package = project.choices.name.package
    typer.echo(f"{name}: {len(changes.made)} files made, main.py changed")
    typer.echo(f"  the message's fields: src/{package}/domain/{name}_message.py")
    typer.echo(f"  its effect:           src/{package}/repository/{name}_effects.py")


def _add_command(
    name: Annotated[str, typer.Argument(help="What is typed, in lower case: reindex.")],
    *,
    dry_run: DryRun = False,
) -> None:
    """Add a command to the service's program."""
    project = find_project(Path.cwd())
    name = name.replace("-", "_")
    _check_word(name)
    check_tools(protos=False)
    service = project.choices.name
    files = command_files(service.package, service.distribution, name)
    changes = _changes(project, files, command_insertions(service.package, name))
    if dry_run:
        sys.stdout.writelines(changes.diff())
        return
    changes.apply()
    typer.echo(f"{name}: {len(changes.made)} files made, cli.py changed")
    typer.echo(f"  what it does: src/{service.package}/command/{name}.py; its help: cli.py")
    typer.echo(f"  ./{service.distribution} {name.replace('_', '-')}")


def _add_migration(
    name: Annotated[str, typer.Argument(help="What it does: index_invoices.")],
) -> None:
    """Add a pair of migration files with the next number."""
    project = find_project(Path.cwd())
    try:
        paths = create_migration(project.package / "migrations", name)
    except (ValidationError, SourceError) as exc:
        raise ScaffoldError(str(exc), usage=True) from exc
    for path in paths:
        typer.echo(path.relative_to(project.root).as_posix())


def _changes(project: Project, made: Mapping[str, str], insertions: Sequence[Insertion]) -> Changes:
    check_free(project, [*made])
    return Changes(project, made=made, edited=inserted(project, insertions))


def _check_word(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise ScaffoldError(
            f"{name!r} cannot be a name here: write lower-case letters, digits and underscores, and"
            " no keyword of Python",
            usage=True,
        )
