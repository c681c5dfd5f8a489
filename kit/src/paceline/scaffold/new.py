"""``paceline new``: a new service, in a folder of its own.

Everything is made in a folder beside the one that is asked for, and moved there at the end, so a
command that fails or is stopped leaves nothing behind.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Collection
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Annotated

import typer

from paceline.scaffold.errors import ScaffoldError
from paceline.scaffold.locks import locked_names, normalized, prune_locks
from paceline.scaffold.naming import ResourceName, ServiceName
from paceline.scaffold.project import write_file
from paceline.scaffold.rendering import Choices, Rendered, render
from paceline.scaffold.template import Rules, Template, running_template
from paceline.scaffold.tools import (
    check_tools,
    generate_messages,
    git,
    has_git,
    is_in_git,
    report_errors,
    say,
    tidy,
    unwrap,
)
from paceline.scaffold.wheel import pack_running_wheel


def new_commands() -> typer.Typer:
    """The command."""
    app = typer.Typer()
    app.command("new", epilog="Example: paceline new shop --without redis --resource invoice")(
        report_errors(_new)
    )
    return app


def _new(
    name: Annotated[str, typer.Argument(help="Of the service: shop, price-list.")],
    *,
    full: Annotated[
        bool, typer.Option("--full", help="The whole reference service, renamed.")
    ] = False,
    without: Annotated[
        str,
        typer.Option("--without", metavar="FEATURES", help="Leave out: grpc,nats,redis."),
    ] = "",
    resource: Annotated[
        str, typer.Option("--resource", metavar="NAME", help="The first resource: invoice.")
    ] = "",
    directory: Annotated[
        Path | None, typer.Option("--directory", help="Where to. [default: NAME, here]")
    ] = None,
    no_git: Annotated[
        bool, typer.Option("--no-git", help="Make no repository and no first commit.")
    ] = False,
) -> None:
    """Make a new service: sources, tests, locks and deployment, in a folder of its own."""
    template = running_template()
    rules = template.rules
    choices = _choices(rules, name, full=full, without=without, resource=resource)
    target = directory or Path(name)
    _check_name(choices.name, template)
    _check_target(target)
    rendered = render(template, choices)
    changed = rendered.files != template.files
    if changed:
        check_tools(protos=rendered.lacks_messages)
    target.resolve().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.resolve().parent, prefix=".paceline-") as scratch:
        root = Path(scratch) / "project"
        for path, content in rendered.files.items():
            write_file(root, path, content)
        if changed:
            finish_files(root, rendered, choices)
        say("packing paceline …")
        pack_running_wheel(root / "wheels")
        _move(root, target)
    if not no_git:
        _commit(target)
    _tell(target, choices, len(rendered.files))


def _choices(rules: Rules, name: str, *, full: bool, without: str, resource: str) -> Choices:
    left_out = sorted({part.strip() for part in without.split(",") if part.strip()})
    if unknown := [feature for feature in left_out if feature not in rules.optional]:
        raise ScaffoldError(
            f"--without {','.join(unknown)}: what can be left out is {', '.join(rules.optional)}",
            usage=True,
        )
    if full and (left_out or resource):
        raise ScaffoldError(
            "--full is the whole service: it goes with neither --without nor --resource",
            usage=True,
        )
    return Choices(
        ServiceName.parse(name),
        ResourceName.parse(resource) if resource else rules.resource,
        full=full,
        without=tuple(left_out),
    )


def _check_name(name: ServiceName, template: Template) -> None:
    """Errors: ScaffoldError for a package that would hide another, or be hidden."""
    package = name.package
    if package == template.rules.name.package:
        return
    if package in sys.stdlib_module_names:
        raise ScaffoldError(f"{package} is a module of Python's own: choose another", usage=True)
    taken = {path.partition("/")[0] for path in template.files}
    taken |= {Path(path).stem for path in template.files if path.startswith("tests/support/")}
    if name.distribution in taken or package in taken:
        raise ScaffoldError(
            f"{name.distribution} is the name of a file in every project: choose another",
            usage=True,
        )
    distributions = packages_distributions().get(package, [])
    if package == "paceline" or normalized(package) in locked_names(template.files):
        distributions = [name.distribution]
    elif not distributions and package in _imported_by(template):
        distributions = ["a dependency"]
    if distributions:
        raise ScaffoldError(
            f"{package} is a package of {', '.join(distributions)}: a service of this name could"
            " not import it. Choose another",
            usage=True,
        )


def _imported_by(template: Template) -> Collection[str]:
    """The packages that the template's sources import."""
    imports = re.compile(r"(?m)^ *(?:from|import) ([a-z]\w*)")
    sources = (text for path, text in template.files.items() if path.endswith(".py"))
    return {name for text in sources for name in imports.findall(text.decode())}


def _check_target(target: Path) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists():
        raise ScaffoldError(
            f"{target} exists already and is not empty: name another folder with --directory",
            usage=True,
        )


def finish_files(
    root: Path, rendered: Rendered, choices: Choices, *, messages: bool = True
) -> None:
    """Sort, format and generate what follows from other names and from what was taken out."""
    if choices.without:
        prune_locks(root)
    unwrap(root, [path for path in rendered.pared if path.endswith(".py")])
    tidy(root)
    if messages and rendered.lacks_messages:
        say("generating messages …")
        generate_messages(root)


def _move(root: Path, target: Path) -> None:
    if target.is_dir():
        target.rmdir()  # empty: checked before
    shutil.move(root, target)


def _commit(target: Path) -> None:
    if not has_git():
        say("git is not installed: the project is not committed")
        return
    if is_in_git(target):
        say(f"{target} is in a repository already: commit it there")
        return
    git(target, "init", "--quiet")
    git(target, "add", "--all")
    try:
        git(target, "commit", "--quiet", "--message", "Start")
    except ScaffoldError as exc:
        say(f"Not committed yet: {exc}")


def _tell(target: Path, choices: Choices, count: int) -> None:
    what = "the whole service" if choices.full else f"a service with {choices.resource.plural}"
    typer.echo(f"{choices.name.distribution}: {what}, {count} files in {target}")
    typer.echo(f"  cd {target} && make run")
    typer.echo("  paceline add resource invoice number:str amount:int")
