"""The template: the files of a whole service, and the rules by which projects are made of it.

It is read from this distribution, from a checkout in which it is installed in editable form (where
it is the folder beside the kit), or from a wheel of another version. A file that begins with
``#!`` is executable: wheels and archives do not keep modes reliably.
"""

import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from paceline import __version__
from paceline.scaffold.errors import ScaffoldError
from paceline.scaffold.naming import ResourceName, ServiceName
from paceline.scaffold.tools import git

PROJECT_FILE: Final = "pyproject.toml"
FULL: Final = "full"
"""The feature of all that goes beyond one resource."""
SAMPLE: Final = "sample"
"""The feature of what the template's resource has for its fields alone: every project has it, and
a resource that `paceline add` makes has not."""
_PACKED: Final = "paceline/scaffold/template/"
_HERE: Final = Path(__file__).parent
_CHECKOUT: Final = _HERE.parents[3]
_COMPILED: Final = "__pycache__"


@dataclass(frozen=True, slots=True)
class Template:
    """``files``: content by path, with slashes; ``version``: of paceline, which it is part of."""

    files: Mapping[str, bytes]
    version: str

    @property
    def rules(self) -> "Rules":
        """What its project file says. Errors: ScaffoldError when it says nothing."""
        return Rules.read(self.files[PROJECT_FILE].decode())


@dataclass(frozen=True, slots=True)
class Rules:
    """``[tool.paceline]`` of the template's project file.

    ``features``: what a project can have, of which ``optional`` can be left out; ``files``: globs,
    in which ``*`` matches slashes, too, of the files that a feature needs; ``renamed``: parts of
    paths that are called otherwise in a project that is not full; ``slice``: globs of the files
    that a resource is cloned of.
    """

    name: ServiceName
    resource: ResourceName
    features: Sequence[str]
    files: Mapping[str, Sequence[str]]
    renamed: Mapping[str, str]
    slice: Sequence[str] = ()

    @property
    def optional(self) -> Sequence[str]:
        """What ``--without`` takes."""
        return [feature for feature in self.features if feature not in (FULL, SAMPLE)]

    @classmethod
    def read(cls, text: str) -> "Rules":
        """Errors: ScaffoldError when a table is missing."""
        try:
            table: dict[str, Any] = tomllib.loads(text)["tool"]["paceline"]
            template: dict[str, Any] = table["template"]
            files: dict[str, Sequence[str]] = template["only"]
            renamed: dict[str, str] = template["renamed"]
            name, resource = str(table["name"]), str(table["resource"])
        except KeyError as exc:
            raise ScaffoldError(f"this is no template: {PROJECT_FILE} has no {exc}") from exc
        return cls(
            ServiceName(name),
            ResourceName.parse(resource),
            (SAMPLE, *files),
            files,
            renamed,
            template.get("slice", ()),
        )


def running_template() -> Template:
    """The template of this version. Errors: ScaffoldError when it is not there."""
    packed = _HERE / "template"
    if packed.is_dir():
        files = {
            path.relative_to(packed).as_posix(): path.read_bytes()
            for path in sorted(packed.rglob("*"))
            if path.is_file() and _COMPILED not in path.parts
        }
    else:
        files = _tracked_files(_CHECKOUT / "service")
    if PROJECT_FILE not in files:
        raise ScaffoldError("this installation has no template: install paceline from its wheel")
    return Template(files, __version__)


def _tracked_files(folder: Path) -> dict[str, bytes]:
    """The files of a checkout that git knows, as they are now."""
    if not (folder / PROJECT_FILE).is_file():
        return {}
    paths = sorted(filter(None, git(folder, "ls-files", "-z", ".").split("\0")))
    return {path: (folder / path).read_bytes() for path in paths if (folder / path).is_file()}


def template_of_wheel(wheel: Path) -> Template:
    """The template in a wheel of paceline. Errors: ScaffoldError when it has none."""
    with zipfile.ZipFile(wheel) as archive:
        files = {
            name.removeprefix(_PACKED): archive.read(name)
            for name in archive.namelist()
            if name.startswith(_PACKED) and not name.endswith("/")
        }
    if PROJECT_FILE not in files:
        raise ScaffoldError(f"{wheel} has no template in it")
    return Template(files, wheel.name.split("-")[1])
