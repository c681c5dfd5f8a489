"""A project that ``paceline new`` made, found from a folder in it, and how it was made."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from paceline.scaffold.errors import ScaffoldError
from paceline.scaffold.naming import ResourceName, ServiceName
from paceline.scaffold.rendering import Choices
from paceline.scaffold.template import PROJECT_FILE

_WHEELS: Final = "wheels"
_EXECUTABLE: Final = 0o755


@dataclass(frozen=True, slots=True)
class Project:
    """``root``: its folder; ``version``: of the paceline whose template it was made of."""

    root: Path
    version: str
    choices: Choices

    @property
    def package(self) -> Path:
        """The folder of its sources."""
        return self.root / "src" / self.choices.name.package

    @property
    def wheels(self) -> Sequence[Path]:
        """The wheels of paceline that it carries; normally one."""
        return sorted((self.root / _WHEELS).glob("paceline-*.whl"))


def find_project(folder: Path) -> Project:
    """The project that ``folder`` is in. Errors: ScaffoldError when it is in none."""
    for root in (folder.resolve(), *folder.resolve().parents):
        file = root / PROJECT_FILE
        if not file.is_file():
            continue
        tools: dict[str, Any] = tomllib.loads(file.read_text()).get("tool", {})
        table: dict[str, Any] | None = tools.get("paceline")
        if table is not None:
            return _read(root, table)
    raise ScaffoldError(
        f"{folder} is in no project of paceline: {PROJECT_FILE} with [tool.paceline] is missing."
        " Change to the project's folder, or make one: paceline new NAME",
        usage=True,
    )


def _read(root: Path, table: dict[str, Any]) -> Project:
    try:
        return Project(
            root,
            str(table["version"]),
            Choices(
                ServiceName(table["name"]),
                ResourceName.parse(table["resource"]),
                full=bool(table["full"]),
                without=tuple(table["without"]),
            ),
        )
    except KeyError as exc:
        raise ScaffoldError(f"{root / PROJECT_FILE}: [tool.paceline] has no {exc}") from exc


def write_file(root: Path, path: str, content: bytes) -> None:
    """Write a file of a project; a script can be called."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    if content.startswith(b"#!"):
        file.chmod(_EXECUTABLE)
