"""Lines that are inserted into a project's own files, and taken out again.

Lines go above an anchor, a comment ``# paceline: NAME`` that every project has; imports go to the
top, where ruff sorts them. Invariant: what `Insertion.insert` has written `Insertion.remove` takes
out, and nothing else; a line that has been changed since is left, and named.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from paceline.scaffold.markers import insert_at_anchor
from paceline.scaffold.naming import ResourceName, camel


@dataclass(frozen=True, slots=True)
class Insertion:
    """``imports``: statements of one name; ``at``: lines by the anchor they go above."""

    path: str
    imports: Sequence[str] = ()
    at: Sequence[tuple[str, Sequence[str]]] = field(default_factory=tuple)

    def insert(self, text: str) -> str:
        """Errors: ScaffoldError when an anchor is missing."""
        for anchor, lines in self.at:
            text = insert_at_anchor(self.path, text, anchor, lines)
        have = _imported(text)
        wanted = [line for line in self.imports if not _imported(line) <= have]
        place = min((node.lineno for node in _import_nodes(text)), default=1) - 1
        rows = text.split("\n")
        return "\n".join([*rows[:place], *wanted, *rows[place:]])

    def remove(self, text: str) -> tuple[str, Sequence[str]]:
        """The text without the lines, and the lines that are not there."""
        missing: list[str] = []
        for _, lines in self.at:
            found = _place_of(text, lines)
            if found is None:
                missing.append(next(line for line in lines if line))
                continue
            rows = text.split("\n")
            text = "\n".join([*rows[: found[0]], *rows[found[1] :]])
        return _without_unused(text, self.imports), missing


def _place_of(text: str, lines: Sequence[str]) -> tuple[int, int] | None:
    """Where the lines are, whatever their indentation; empty lines do not count."""
    wanted = [line.strip() for line in lines if line.strip()]
    rows = [(number, row.strip()) for number, row in enumerate(text.split("\n")) if row.strip()]
    for start in range(len(rows) - len(wanted) + 1):
        here = rows[start : start + len(wanted)]
        if [row for _, row in here] == wanted:
            return here[0][0], here[-1][0] + 1
    return None


def _import_nodes(text: str) -> Sequence[ast.ImportFrom | ast.Import]:
    body = ast.parse(text).body
    return [node for node in body if isinstance(node, ast.ImportFrom | ast.Import)]


def _imported(text: str) -> set[tuple[str, str]]:
    """The module of each import, and the name by which it is used here."""
    return {
        (_module_of(node, each), each.asname or each.name)
        for node in _import_nodes(text)
        for each in node.names
    }


def _module_of(node: ast.ImportFrom | ast.Import, name: ast.alias) -> str:
    return node.module or "" if isinstance(node, ast.ImportFrom) else name.name


def _without_unused(text: str, imports: Sequence[str]) -> str:
    """``text`` without those imports whose names it does not use; the linter takes out the rest."""
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    gone = {
        module
        for line in imports
        for module, name in _imported(line)
        if name not in used and _is_alone(text, module, name)
    }
    rows = text.split("\n")
    for node in reversed(_import_nodes(text)):
        if _module_of(node, node.names[0]) in gone:
            del rows[node.lineno - 1 : node.end_lineno]
    return "\n".join(rows)


def _is_alone(text: str, module: str, name: str) -> bool:
    return {each for where, each in _imported(text) if where == module} == {name}


def resource_insertions(package: str, resource: ResourceName, *, grpc: bool) -> Sequence[Insertion]:
    """What the wiring and the scopes need of a resource."""
    single, several, upper = camel(resource.singular), resource.plural, resource.plural.upper()
    variable, table = several, f"Pg{camel(several)}"
    parameters = "wiring: Wiring, pool: Pool, reads: ReadPolicy"
    imports = [
        f"from {package}.handler.{several}_http import {single}Handler",
        f"from {package}.repository.{several} import {table}",
        f"from {package}.service.{several} import {single}Service",
        "from paceline.postgres import Pool, ReadPolicy, uuid7",
    ]
    at: list[tuple[str, Sequence[str]]] = [
        ("resources", [f"{variable} = _{several}(wiring, pool, reads)"]),
        ("routes", [f"{single}Handler({variable}).register(api)"]),
        (
            "builders",
            [
                "",
                "",
                f"def _{several}({parameters}) -> {single}Service:",
                f"    table = wiring.add({table}(pool, reads, observer=wiring.observer))",
                f"    return {single}Service(table, wiring.clock, uuid7)",
                "",
                "",
            ],
        ),
    ]
    if grpc:
        imports.append(f"from {package}.handler.{several}_grpc import {single}Rpc")
        at.append(("rpcs", [f"{single}Rpc({variable}),"]))
    scopes = [
        f'{upper}_{right}: Final = "{several}:{right.lower()}"' for right in ("READ", "WRITE")
    ]
    return [
        Insertion(f"src/{package}/main.py", imports, at),
        Insertion(
            f"src/{package}/scopes.py",
            at=[
                ("scopes", scopes),
                ("all-scopes", [f"{upper}_READ,", f"{upper}_WRITE,"]),
            ],
        ),
    ]
