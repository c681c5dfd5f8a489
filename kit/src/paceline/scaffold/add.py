"""``paceline add``: a resource, a consumer, a command or a migration, in the project one is in."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from paceline.scaffold.changes import Changes
from paceline.scaffold.errors import ScaffoldError
from paceline.scaffold.fields import FieldLines, is_sql_word, parse_fields
from paceline.scaffold.naming import ResourceName
from paceline.scaffold.project import Project, find_project
from paceline.scaffold.slicing import GRPC, Slice, generated_files
from paceline.scaffold.template import running_template
from paceline.scaffold.tools import check_tools, told
from paceline.scaffold.wiring_edits import Insertion, resource_insertions

_DIGITS: Final = 6
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the diff, and change nothing.")]


def add_commands() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(name="add", help="Add to the project here.", no_args_is_help=True)
    app.command(
        "resource",
        epilog="Example: paceline add resource invoice number:str amount:int due:date?",
    )(told(_add_resource))
    return app


def _add_resource(
    name: Annotated[str, typer.Argument(help="One of them, in lower case: invoice, line_item.")],
    fields: Annotated[
        list[str] | None,
        typer.Argument(help="NAME:TYPE of str, int, float, bool, date, datetime, uuid; TYPE? ."),
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
    made = clone.clone(resource, FieldLines(service.package, resource, parsed), number)
    check_free(project, made)
    _check_table(project, resource)
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
        file = project.root / each.path
        if not file.is_file():
            raise ScaffoldError(f"{each.path} is not there: lines belong into it")
        edited[each.path] = each.insert(file.read_text())
    return edited


def check_free(project: Project, made: Sequence[str] | dict[str, str]) -> None:
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
