"""A resource's slice of the template, cloned for another resource with other fields.

The slice is what every resource has: a file of its name on each floor, its proto, its migration,
its fake, its tests and its page. Invariant: it is always cloned from the template, which is tested,
and never from what a project has made of its first resource.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from paceline.scaffold.errors import ScaffoldError
from paceline.scaffold.fields import FieldLines
from paceline.scaffold.markers import Marks, pare
from paceline.scaffold.naming import (
    ResourceName,
    ServiceName,
    camel,
    rename_resource,
    rename_service,
)
from paceline.scaffold.template import Template

GRPC: Final = "grpc"
_REGION: Final = "fields "
_PLACE: Final = re.compile(r"^(?P<indent>[ \t]*)<(?P<region>fields [a-z ]+)>\n", re.MULTILINE)
_MIGRATION: Final = re.compile(r"(?P<folder>.*/)(?P<number>\d+)(?P<name>_[^/]*\.sql)")


class Slice:
    """The slice as a project of this ``service`` has it, with or without gRPC."""

    def __init__(self, template: Template, service: ServiceName, *, grpc: bool) -> None:
        rules = template.rules
        self._rules = rules
        self._service = service
        self._grpc = grpc
        self._files = {
            path: content.decode()
            for path, content in template.files.items()
            if any(fnmatchcase(path, glob) for glob in rules.slice) and self._is_wanted(path)
        }
        if not self._files:
            raise ScaffoldError("the template has no slice to clone")

    def _is_wanted(self, path: str) -> bool:
        return self._grpc or not any(
            fnmatchcase(path, glob) for glob in self._rules.files.get(GRPC, ())
        )

    def paths(self, resource: ResourceName, migration: str) -> Mapping[str, str]:
        """For each of its files in the template, the file in the project."""
        return {path: self._path_of(path, resource, migration) for path in self._files}

    def _path_of(self, path: str, resource: ResourceName, migration: str) -> str:
        if match := _MIGRATION.fullmatch(path):
            path = f"{match['folder']}{migration}{match['name']}"
        return self._rename(path, resource)

    def clone(self, resource: ResourceName, lines: FieldLines, migration: str) -> dict[str, str]:
        """The files for a resource. Errors: ScaffoldError for a name that its code uses itself."""
        cloned: dict[str, str] = {}
        for path, target in self.paths(resource, migration).items():
            text = pare(path, _with_places(path, self._files[path]), [GRPC] if self._grpc else [])
            if path.endswith(".py"):
                self._check_names(text, resource)
            text = _spoken(self._rename(text, resource), resource)
            cloned[target] = _PLACE.sub(lambda found: _filled(found, lines), text)
        return cloned

    def _rename(self, text: str, resource: ResourceName) -> str:
        renamed = rename_resource(text, self._rules.resource, resource)
        return rename_service(renamed, self._rules.name, self._service)

    def _check_names(self, text: str, resource: ResourceName) -> None:
        new = {resource.singular, resource.plural, camel(resource.singular), camel(resource.plural)}
        new.add(f"{camel(resource.singular)}Draft")
        used = {*_names_of(_PLACE.sub("", text))}
        if taken := sorted(new & used):
            raise ScaffoldError(
                f"{taken[0]!r} is a name that a resource's own code uses: choose another for the"
                " resource",
                usage=True,
            )


def _with_places(path: str, text: str) -> str:
    """``text`` with one line in place of each region."""
    marks = Marks(path)
    result: list[str] = []
    inside = False
    for line in text.split("\n"):
        mark = marks.find(line)
        if mark and mark.opens and mark.name.startswith(_REGION):
            inside = True
            result.append(f"{mark.code}<{mark.name}>" if mark.code else _indented(line, mark.name))
        elif inside:
            inside = not (mark and mark.closes)
        else:
            result.append(line)
    return "\n".join(result)


def _indented(line: str, name: str) -> str:
    return f"{line[: len(line) - len(line.lstrip())]}<{name}>"


def _filled(found: re.Match[str], lines: FieldLines) -> str:
    filled = lines.lines(found["region"].removeprefix(_REGION))
    return "".join(f"{found['indent']}{line}\n" if line else "\n" for line in filled)


def _spoken(text: str, resource: ResourceName) -> str:
    """Names of several words: spaces where people read them, hyphens in the types of errors."""
    name = resource.singular
    if "_" not in name:
        return text
    text = text.replace(f'"{name} not found"', f'"{name.replace("_", " ")} not found"')
    text = text.replace(f"): {name} not found", f"): {name.replace('_', ' ')} not found")
    text = text.replace(f"the {name} has changed", f"the {name.replace('_', ' ')} has changed")
    return text.replace(f"{name}-not-found", f"{name.replace('_', '-')}-not-found")


def _names_of(source: str) -> Iterator[str]:
    """Every name that a module defines, imports or uses."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name):
                yield name
            case ast.alias(name=name, asname=given):
                yield given or name
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.AsyncFunctionDef(name=name):
                yield name
            case _:
                pass


def generated_files(resource: ResourceName, package: str) -> Sequence[str]:
    """What protoc writes for its proto: messages, and a client for the tests."""
    stems = (
        f"src/{package}/proto/v1/{resource.plural}_pb2",
        f"tests/support/{resource.plural}_pb2_grpc",
    )
    return [f"{stem}{end}" for stem in stems for end in (".py", ".pyi")]
