"""``paceline remove``: what ``paceline add`` has added.

A migration that is committed may have run anywhere: it stays, and another one drops the table. One
that git does not know yet goes with the other files.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from paceline.scaffold.add import DryRun, next_migration, read_wiring
from paceline.scaffold.changes import Changes
from paceline.scaffold.errors import ScaffoldError
from paceline.scaffold.naming import ResourceName
from paceline.scaffold.project import Project, find_project
from paceline.scaffold.slicing import Slice, generated_files
from paceline.scaffold.template import running_template
from paceline.scaffold.tools import check_tools, git, is_in_git, report_errors
from paceline.scaffold.wiring_edits import resource_insertions

_DIRECTIONS: Final = ("up", "down")


def remove_commands() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(name="remove", help="Remove what was added.", no_args_is_help=True)
    app.command("resource", epilog="Example: paceline remove resource invoice --dry-run")(
        report_errors(_remove_resource)
    )
    return app


def _remove_resource(
    name: Annotated[str, typer.Argument(help="As it was added: invoice.")],
    *,
    plural: Annotated[str, typer.Option("--plural", help="As it was added.")] = "",
    dry_run: DryRun = False,
) -> None:
    """Remove a resource's files and its wiring; what you changed in them goes, too."""
    project = find_project(Path.cwd())
    resource = ResourceName.parse(f"{name}/{plural}" if plural else name)
    if resource == project.choices.resource:
        raise ScaffoldError(
            f"{name} is what this project was made with: paceline update needs it", usage=True
        )
    check_tools(protos=False)
    removal = Removal(project, resource)
    if dry_run:
        sys.stdout.writelines(removal.changes.diff())
        return
    removal.changes.apply()
    deleted, edited = len(removal.changes.deleted), len(removal.changes.edited)
    typer.echo(f"{resource.singular}: {deleted} files deleted, {edited} changed")
    for line in removal.notes:
        typer.echo(f"  {line}")


class Removal:
    """What removing a resource changes, and what there is to say about it."""

    def __init__(self, project: Project, resource: ResourceName) -> None:
        self._project = project
        self._resource = resource
        self.notes: list[str] = []
        service = project.choices.name
        sliced = Slice(running_template(), service, grpc=True)
        paths = [
            path
            for path in (
                *sliced.paths(resource, "0").values(),
                *generated_files(resource, service.package),
            )
            if (project.root / path).is_file()
        ]
        if not paths:
            raise ScaffoldError(
                f"there is no resource {resource.singular}: no file of {resource.plural} is here",
                usage=True,
            )
        made, migration = self._migration()
        self.changes: Changes = Changes(
            project,
            made=made,
            edited=self._edited(grpc=any(path.endswith("_grpc.py") for path in paths)),
            deleted=[*paths, *migration],
        )

    def _edited(self, *, grpc: bool) -> dict[str, str]:
        edited: dict[str, str] = {}
        package = self._project.choices.name.package
        for each in resource_insertions(package, self._resource, grpc=grpc):
            text, missing = each.remove(read_wiring(self._project, each.path))
            edited[each.path] = text
            self.notes += [
                f"{each.path}: {line!r} is not there as it was added: see what is left of it"
                for line in missing
            ]
        return edited

    def _migration(self) -> tuple[Mapping[str, str], list[str]]:
        """Files to make, and to delete, so that the table goes."""
        root, folder = self._project.root, self._project.package / "migrations"
        table = self._resource.plural
        found = sorted(folder.glob(f"*_create_{table}.*.sql"))
        if len(found) != len(_DIRECTIONS):
            return {}, []
        paths = [file.relative_to(root).as_posix() for file in found]
        down, up = found
        stem = up.name.removesuffix(".up.sql")
        if not self._is_committed(paths):
            before = int(stem.partition("_")[0]) - 1
            self.notes.append(
                f"a database that ran {stem} still has the table: there, DROP TABLE {table}, then"
                f" ./{self._project.choices.name.distribution} migrate force {before}"
            )
            return {}, paths
        number = next_migration(folder)
        self.notes.append(
            f"{stem} stays, since databases may have run it; {number}_drop_{table} undoes it"
        )
        place = folder.relative_to(root).as_posix()
        return {
            f"{place}/{number}_drop_{table}.up.sql": down.read_text(),
            f"{place}/{number}_drop_{table}.down.sql": up.read_text(),
        }, []

    def _is_committed(self, paths: list[str]) -> bool:
        root = self._project.root
        if not is_in_git(root):
            return True
        return bool(git(root, "ls-files", "--", *paths).strip())
