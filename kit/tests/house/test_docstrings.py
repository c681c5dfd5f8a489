"""The examples in docstrings are Python, and call what the kit exports by the parameters it has."""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

KIT = Path(__file__).parents[2] / "src/paceline"
SOURCES = sorted(path for path in KIT.rglob("*.py") if not path.stem.endswith("_pb2"))
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Example:
    file: Path
    name: str
    code: str


def examples_in(file: Path) -> Iterator[Example]:
    """The indented blocks of all docstrings."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, Documented):
            continue
        block: list[str] = []
        name = getattr(node, "name", "module")
        for line in [*(ast.get_docstring(node) or "").splitlines(), "end"]:
            if line.startswith("    ") or (block and not line.strip()):
                block.append(line)
            elif block:
                yield Example(file, name, textwrap.dedent("\n".join(block)))
                block = []


EXAMPLES = [example for file in SOURCES for example in examples_in(file)]


def room_of(file: Path) -> str:
    """The nearest package that exports something; a module beside them is its own."""
    parts = file.relative_to(KIT).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    for length in range(len(parts), 0, -1):
        name = ".".join(["paceline", *parts[:length]])
        if hasattr(import_module(name), "__all__"):
            return name
    return ".".join(["paceline", *parts])


def exported(file: Path) -> Mapping[str, object]:
    room = import_module(room_of(file))
    names: list[str] = getattr(room, "__all__", dir(room))
    return {name: getattr(room, name) for name in names}


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=lambda example: f"{example.file.stem}.{example.name}"
)
def test_an_example_is_python_and_its_calls_have_the_parameters_that_they_name(
    example: Example,
) -> None:
    code = "async def example():\n" + textwrap.indent(example.code, "    ")
    found = exported(example.file)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = found.get(node.func.id)
            if callable(called) and not any(word.arg is None for word in node.keywords):
                given = [word.arg for word in node.keywords if word.arg is not None]
                values = [None] * sum(not isinstance(each, ast.Starred) for each in node.args)
                inspect.signature(called).bind_partial(*values, **dict.fromkeys(given))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 50
