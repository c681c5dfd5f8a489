"""``paceline update``: from the template that a project was made of to the running one's.

A three-way merge, file by file: what the old template gives, what the new one gives, and what the
project has. Invariant: no line of the project is lost. The tree must be clean, so ``git diff``
shows what the command has done, and ``git checkout .`` takes it back. Migrations that are there
stay as they are, since databases have run them; new ones are numbered after the project's own.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import typer

from paceline.scaffold.errors import ScaffoldError
from paceline.scaffold.new import finish_files
from paceline.scaffold.project import Project, find_project, write_file
from paceline.scaffold.rendering import Choices, is_generated, render
from paceline.scaffold.template import Template, running_template, template_of_wheel
from paceline.scaffold.tools import (
    check_tools,
    generate_messages,
    git,
    is_in_git,
    report_errors,
    say,
)
from paceline.scaffold.wheel import pack_running_wheel

_MIGRATION: Final = re.compile(r"(?P<folder>.*/migrations/)(?P<number>\d+)_(?P<name>.*)")
_CONFLICTS: Final = 127
"""git merge-file's exit code is how many conflicts there are, up to this; more is a failure."""


def update_commands() -> typer.Typer:
    """The command."""
    app = typer.Typer()
    app.command("update", epilog="Example: pip install -U paceline && paceline update")(
        report_errors(_update)
    )
    return app


def _update() -> None:
    """Merge what the template has gained since this project was made of it."""
    project = find_project(Path.cwd())
    old, new = _templates(project)
    say(f"from paceline {old.version} to {new.version} …")
    with tempfile.TemporaryDirectory(prefix="paceline-") as scratch:
        packed = pack_running_wheel(Path(scratch))
        merge = update_project(project, old, new)
        for wheel in project.wheels:
            wheel.unlink()
        shutil.move(packed, project.root / "wheels" / packed.name)
    _tell(merge)


def update_project(project: Project, old: Template, new: Template) -> "Merge":
    """Merge what changed from the old template to the new one into the project's files.

    Errors: ScaffoldError when the project's tree is not clean.
    """
    _check_clean(project.root)
    with tempfile.TemporaryDirectory(prefix="paceline-") as scratch:
        base = _laid_out(Path(scratch) / "old", old, project.choices)
        theirs = _laid_out(Path(scratch) / "new", new, project.choices)
    merge = Merge(project.root, f"paceline {old.version}", f"paceline {new.version}")
    merge.run(base, theirs)
    protos = {path for path in {*base, *theirs} if path.endswith(".proto")}
    if any(base.get(path) != theirs.get(path) for path in protos) and not merge.conflicts:
        say("generating messages …")
        generate_messages(project.root)
    return merge


def _templates(project: Project) -> tuple[Template, Template]:
    """Errors: ScaffoldError when the project's wheel is not there, or ruff is not."""
    if len(project.wheels) != 1:
        raise ScaffoldError(
            "wheels/ must hold the one wheel of paceline that this project was made with, and holds"
            f" {len(project.wheels)}: take it from git"
        )
    old, new = template_of_wheel(project.wheels[0]), running_template()
    check_tools(protos=any(path.endswith(".proto") for path in new.files))
    return old, new


def _check_clean(root: Path) -> None:
    if not is_in_git(root):
        raise ScaffoldError(f"{root} is in no git repository: commit it, so nothing can be lost")
    if changed := git(root, "status", "--porcelain", "--", ".").rstrip():
        raise ScaffoldError(f"Commit or stash what has changed first:\n{changed}")


def _laid_out(root: Path, template: Template, choices: Choices) -> dict[str, bytes]:
    """The project as it would be made of the template today, but for generated messages."""
    rendered = render(template, choices)
    for path, content in rendered.files.items():
        write_file(root, path, content)
    finish_files(root, rendered, choices, messages=False)
    return {path: (root / path).read_bytes() for path in rendered.files if not is_generated(path)}


@dataclass(slots=True)
class Merge:
    """A merge into the files below ``root``, and what came of it."""

    root: Path
    old: str
    new: str
    changed: list[str] = field(default_factory=list[str])
    conflicts: list[str] = field(default_factory=list[str])
    kept: list[str] = field(default_factory=list[str])

    def run(self, base: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> None:
        """Merge all files. Errors: ScaffoldError when git cannot."""
        for path in sorted({*base, *theirs}):
            if not _MIGRATION.fullmatch(path):
                self._merge(path, base.get(path), theirs.get(path))
        self._add_migrations(base, theirs)

    def _merge(self, path: str, base: bytes | None, theirs: bytes | None) -> None:
        file = self.root / path
        ours = file.read_bytes() if file.is_file() else None
        if theirs in (base, ours):
            return
        if theirs is None:
            if ours == base:
                file.unlink()
                self.changed.append(path)
            else:
                self.kept.append(f"{path}: changed here, and gone from the template")
        elif ours is None and base is not None:
            self.kept.append(f"{path}: gone here, and changed in the template")
        elif ours is None or ours == base:
            write_file(self.root, path, theirs)
            self.changed.append(path)
        else:
            self._merge_texts(path, ours, base or b"", theirs)

    def _merge_texts(self, path: str, ours: bytes, base: bytes, theirs: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="paceline-") as scratch:
            names = {"ours": ours, "base": base, "theirs": theirs}
            for name, content in names.items():
                (Path(scratch) / name).write_bytes(content)
            labels = ["-L", "yours", "-L", self.old, "-L", self.new]
            done = subprocess.run(  # noqa: S603 - git, and files of our own
                ["git", "merge-file", "-p", "--diff3", *labels, *names],  # noqa: S607 - by its name
                cwd=scratch, capture_output=True, check=False,
            )  # fmt: skip
        if not 0 <= done.returncode <= _CONFLICTS:
            self.kept.append(f"{path}: {done.stderr.decode().strip()}")
            return
        write_file(self.root, path, done.stdout)
        (self.conflicts if done.returncode else self.changed).append(path)

    def _add_migrations(self, base: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> None:
        """Migrations that only the new template has, after the last one of the project."""
        known = {match["name"] for path in base if (match := _MIGRATION.fullmatch(path))}
        fresh = [
            match
            for path in sorted(theirs)
            if (match := _MIGRATION.fullmatch(path)) and match["name"] not in known
        ]
        if not fresh:
            return
        folder = fresh[0]["folder"]
        used = [int(path.name.split("_")[0]) for path in (self.root / folder).glob("[0-9]*_*.sql")]
        numbers = sorted({match["number"] for match in fresh})
        after = {number: max(used, default=0) + n for n, number in enumerate(numbers, 1)}
        for match in fresh:
            width = len(match["number"])
            path = f"{folder}{after[match['number']]:0{width}d}_{match['name']}"
            write_file(self.root, path, theirs[match.group()])
            self.changed.append(path)


def _tell(merge: Merge) -> None:
    typer.echo(f"{len(merge.changed)} files changed: see git diff, then make test")
    for line in merge.kept:
        typer.echo(f"  left alone: {line}")
    if merge.conflicts:
        typer.echo("Conflicts, marked as git does; settle them, then make test:")
        for path in merge.conflicts:
            typer.echo(f"  {path}")
        raise typer.Exit(1)
