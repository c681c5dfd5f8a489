"""A project as its files, made of the template and of what was asked for. Reads and writes nothing.

Invariant: with every feature, and the template's own names, the result is the template, byte for
byte. With all features marks stay, so such a project can still be pared by hand; in others only
anchors do, migrations are numbered from 1 without gaps, and the rules of the template are gone.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Final

from paceline.scaffold.markers import pare
from paceline.scaffold.naming import ResourceName, ServiceName, rename_resource, rename_service
from paceline.scaffold.template import FULL, PROJECT_FILE, Rules, Template

_MIGRATION: Final = re.compile(r"(?P<folder>.*/migrations/)(?P<number>\d+)_(?P<name>[^/]*)")
_GENERATED: Final = "*_pb2*.py*"


@dataclass(frozen=True, slots=True)
class Choices:
    """What was asked for. ``full``: the whole service, with nothing left out."""

    name: ServiceName
    resource: ResourceName
    full: bool = False
    without: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Rendered:
    """``files``: content by path; ``pared``: those of which something was taken out.

    Messages that are generated from protos are among the files only if nothing changes in the
    protos: otherwise ``lacks_messages``, and they have to be generated.
    """

    files: Mapping[str, bytes]
    pared: Collection[str]

    @property
    def lacks_messages(self) -> bool:
        """Whether there are protos, and not what is generated from them."""
        return bool(_protos(self.files)) and not any(map(is_generated, self.files))


def render(template: Template, choices: Choices) -> Rendered:
    """The project that is asked for. Errors: ScaffoldError for a wrong mark in the template."""
    rules = template.rules
    features = _features(rules, choices)
    paths = {
        path: path if choices.full else _renamed_part(path, rules)
        for path in template.files
        if choices.full or _is_wanted(path, rules, features)
    }
    if not choices.full:
        paths = _numbered(paths)
    made: dict[str, bytes] = {}
    pared: list[str] = []
    for path, wanted in paths.items():
        content = template.files[path]
        target = _rename(wanted, rules, choices)
        made[target] = content
        if (text := _text_of(content)) is None:
            continue
        if not choices.full:
            text = pare(path, text, features)
            if text.encode() != content:
                pared.append(target)
        if path == PROJECT_FILE:
            text = _with_choices(text, choices, template.version)
        made[target] = _rename(text, rules, choices).encode()
    if _protos(made) != _protos(template.files):
        made = {path: content for path, content in made.items() if not is_generated(path)}
    return Rendered(made, pared)


def is_generated(path: str) -> bool:
    """Whether protoc writes this file."""
    return fnmatchcase(PurePosixPath(path).name, _GENERATED)


def _features(rules: Rules, choices: Choices) -> Collection[str]:
    if choices.full:
        return rules.features
    return [name for name in rules.features if name != FULL and name not in choices.without]


def _is_wanted(path: str, rules: Rules, features: Collection[str]) -> bool:
    return not any(
        fnmatchcase(path, glob)
        for feature, globs in rules.files.items()
        if feature not in features
        for glob in globs
    )


def _text_of(content: bytes) -> str | None:
    """None for what is no text."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _renamed_part(path: str, rules: Rules) -> str:
    for old, new in rules.renamed.items():
        path = path.replace(old, new)
    return path


def _rename(text: str, rules: Rules, choices: Choices) -> str:
    return rename_service(
        rename_resource(text, rules.resource, choices.resource), rules.name, choices.name
    )


def _with_choices(text: str, choices: Choices, version: str) -> str:
    """The project file with what was chosen, as `paceline.scaffold.Project` reads it."""
    without = ", ".join(f'"{name}"' for name in sorted(choices.without))
    head, table, rest = text.partition("[tool.paceline]\n")
    values = {
        "version": f'"{version}"',
        "full": str(choices.full).lower(),
        "without": f"[{without}]",
    }
    for key, value in values.items():
        rest = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", rest, count=1)
    return head + table + rest


def _numbered(paths: Mapping[str, str]) -> dict[str, str]:
    """The paths with migrations numbered from 1 without gaps, in their order."""
    found = {path: match for path, to in paths.items() if (match := _MIGRATION.fullmatch(to))}
    numbers = sorted({match["number"] for match in found.values()})
    new = {old: f"{index:0{len(old)}d}" for index, old in enumerate(numbers, 1)}
    return {**paths} | {
        path: f"{match['folder']}{new[match['number']]}_{match['name']}"
        for path, match in found.items()
    }


def _protos(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    return {path: text for path, text in files.items() if path.endswith(".proto")}
