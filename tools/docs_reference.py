"""Pages of the API, one for each room of the kit: what its front door exports.

Read by griffe, without importing anything. A name that is exported has its signature, its
docstring and its public members; what is not exported is not public, and is on no page.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import griffe

WIDTH: Final = 88
_KINDS: Final = griffe.ParameterKind
_INNER: Final = {"paceline.http.server.http1", "paceline.http.server.http2"}
"""Packages of one room, which only that room imports."""


def api_pages(source: Path) -> dict[str, str]:
    """Text by file name, of the package ``paceline`` in the folder ``source``."""
    package = griffe.load("paceline", search_paths=[source], resolve_aliases=True)
    rooms = {room.path: room for room in _rooms(package)}
    pages = {f"{path}.md": "\n".join(_page(room)) for path, room in rooms.items()}
    listed = [f"| [{path}]({path}.md) | {_summary(room)} |" for path, room in sorted(rooms.items())]
    pages["index.md"] = "\n".join(
        ["# API", "", "Each room of the kit, and what it exports.", "", "| room | |", "|---|---|",
         *listed, "", "```{toctree}", ":hidden:", *sorted(rooms), "```", ""]
    )  # fmt: skip
    return pages


def _rooms(package: griffe.Module) -> Iterator[griffe.Module]:
    """Packages that export something, and the modules beside them that have no package."""
    for member in package.modules.values():
        if member.name.startswith("_"):
            continue
        if member.is_init_module:
            yield from (room for room in _nested(member) if room.exports)
        else:
            yield member


def _nested(room: griffe.Module) -> Iterator[griffe.Module]:
    if room.path not in _INNER:
        yield room
    for member in room.modules.values():
        if member.is_init_module and not member.name.startswith("_"):
            yield from _nested(member)


def _page(room: griffe.Module) -> Iterator[str]:
    yield from (f"# {room.path}", "", *_docstring(room))
    for name in _public(room):
        member = room[name]
        try:
            found = member.final_target if member.is_alias else member
        except griffe.AliasResolutionError:  # another library's, which has its own pages
            yield from (f"## {name}", "", f"`{member.target_path}`", "")
            continue
        if found.is_module:  # a function in a module of its name, which hides it from griffe
            found = found[name]
        yield from _entry(found, name, "##")


def _public(room: griffe.Module) -> list[str]:
    if room.exports:
        return sorted((str(name) for name in room.exports), key=str.lower)
    own = [name for name, member in room.members.items() if not member.is_alias]
    return [name for name in own if not name.startswith("_")]


def _entry(found: griffe.Object, name: str, level: str) -> Iterator[str]:
    yield from (f"{level} {name}", "", "```python", _declaration(found, name), "```", "")
    yield from _docstring(found)
    if isinstance(found, griffe.Class):
        for member in found.members.values():
            if _is_shown(member):
                yield from _entry(member, f"{name}.{member.name}", level + "#")


def _is_shown(member: griffe.Object | griffe.Alias) -> bool:
    if member.is_alias or member.name.startswith("_") or member.is_class:
        return False
    return member.is_function or member.has_docstring or "property" in member.labels


def _declaration(found: griffe.Object, name: str) -> str:
    own = name.rpartition(".")[2]
    if isinstance(found, griffe.Function):
        prefix = "async def" if "async" in found.labels else "def"
        result = f" -> {found.returns}" if found.returns is not None else ""
        above = "".join(f"@{each.value}\n" for each in found.decorators)
        return above + _call(f"{prefix} {own}", found.parameters, result)
    if isinstance(found, griffe.Class):
        bases = ", ".join(map(str, found.bases))
        head = f"class {own}({bases})" if bases else f"class {own}"
        made = found.members.get("__init__")
        if isinstance(made, griffe.Function):
            return f"{head}\n\n{_call(own, made.parameters, '')}"
        fields = [f"    {_assigned(each)}" for each in found.attributes.values() if _is_field(each)]
        return "\n".join([f"{head}:", *fields] if fields else [head])
    return _assigned(found) if isinstance(found, griffe.Attribute) else own


def _is_field(member: griffe.Attribute) -> bool:
    return not member.name.startswith("_") and "property" not in member.labels


def _assigned(found: griffe.Attribute) -> str:
    kind = f": {found.annotation}" if found.annotation is not None else ""
    value = f" = {found.value}" if found.value is not None else ""
    whole = f"{found.name}{kind}{value}"
    return whole if len(whole) <= WIDTH else f"{found.name}{kind} = …"


def _call(head: str, parameters: griffe.Parameters, tail: str) -> str:
    shown = [*_parameters(parameters)]
    line = f"{head}({', '.join(shown)}){tail}"
    if len(line) <= WIDTH:
        return line
    return f"{head}(\n" + "".join(f"    {each},\n" for each in shown) + f"){tail}"


def _parameters(parameters: griffe.Parameters) -> Iterator[str]:
    starred = positional = False
    for each in parameters:
        if each.name in {"self", "cls"}:
            continue
        if positional and each.kind is not _KINDS.positional_only:
            yield "/"
        positional = each.kind is _KINDS.positional_only
        if each.kind is _KINDS.keyword_only and not starred:
            yield "*"
        starred = starred or each.kind in {_KINDS.keyword_only, _KINDS.var_positional}
        star = {_KINDS.var_positional: "*", _KINDS.var_keyword: "**"}.get(each.kind, "")
        kind = f": {each.annotation}" if each.annotation is not None else ""
        has_default = each.default is not None and not star
        equals = " = " if kind else "="
        yield f"{star}{each.name}{kind}" + (f"{equals}{each.default}" if has_default else "")
    if positional:
        yield "/"


def _docstring(found: griffe.Object) -> Iterator[str]:
    """The text, whose indented examples become blocks; double backticks are Markdown's, too."""
    if found.docstring is None:
        return
    block: list[str] = []
    for line in [*found.docstring.value.splitlines(), "end"]:
        if line.startswith("    ") or (block and not line.strip()):
            block.append(line)
            continue
        if block:
            yield from ("", "```python", textwrap.dedent("\n".join(block)).strip(), "```", "")
            block = []
        if line != "end":
            yield re.sub(r"::$", ":", line)
    yield ""


def _summary(found: griffe.Object) -> str:
    return found.docstring.value.partition("\n")[0] if found.docstring else ""
