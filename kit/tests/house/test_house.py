"""The house rules that a linter does not know, over both distributions."""

import ast
import importlib
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# What a tool generates (*_pb2.py, *_pb2_grpc.py) follows its tool's rules.
SOURCES = sorted(
    path
    for package in ("kit/src", "service/src")
    for path in (ROOT / package).rglob("*.py")
    if not path.stem.endswith(("_pb2", "_pb2_grpc"))
)

# A third-party library lives in one room; msgspec's types are what everybody speaks.
ROOMS = {
    "aiokafka": {"paceline.messaging"},
    "asyncpg": {"paceline.postgres"},
    "cryptography": {"paceline.auth", "paceline.testing"},
    "dotenv": {"paceline.config"},
    "google": {"paceline.grpc", "myservice.handler", "myservice.proto"},
    "hiredis": {"paceline.redis"},
    "hpack": {"paceline.http"},
    "httptools": {"paceline.http"},
    "joserfc": {"paceline.auth"},
    "nats": {"paceline.messaging"},
    "opentelemetry": {"paceline.trace"},
    "prometheus_client": {"paceline.metrics"},
    "pydantic": {"paceline.config"},
    "pydantic_core": {"paceline.config"},
    "pytest": {"paceline.testing"},
    "redis": {"paceline.redis"},
    "rich": {"paceline.commands"},  # the text of textual, which depends on it
    "textual": {"paceline.commands"},
    "typer": {"paceline.commands", "paceline.scaffold", "myservice.command"},
    "uuid_utils": {"paceline.postgres"},
    "uvloop": {"paceline.commands", "paceline.testing"},
    "yaml": {"paceline.config"},
}
# typing_extensions is read by type checkers only, for defaults of type variables.
ANYWHERE = {"msgspec", "paceline", "myservice", "typing_extensions"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts[2:]
    return ".".join(part for part in parts if part != "__init__")


def room_of(path: Path) -> str:
    return ".".join(module_of(path).split(".")[:2])


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_a_module_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, "every module starts with a docstring"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_a_library_lives_in_one_room(path: Path) -> None:
    import sys  # noqa: PLC0415 - only for its list of names

    foreign = imported(path) - set(sys.stdlib_module_names) - ANYWHERE
    for library in foreign:
        assert room_of(path) in ROOMS.get(library, set()), f"{library} does not live here"


@cache
def kit_rooms() -> frozenset[str]:
    """The packages of the kit, whose ``__init__`` is the list of what is public."""
    return frozenset(
        module_of(path)
        for path in SOURCES
        if path.name == "__init__.py" and module_of(path).startswith("paceline.")
    )


def inner_imports(path: Path) -> list[str]:
    """The imports of ``path`` that go past the front door of a room it is not in."""
    own = module_of(path) if path in SOURCES else ""
    past: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        parts = node.module.split(".")
        around = [".".join(parts[:n]) for n in range(2, len(parts) + 1)]
        room = next((one for one in reversed(around) if one in kit_rooms()), None)
        if room in (None, node.module) or f"{own}.".startswith(f"{room}."):
            continue
        past.append(f"line {node.lineno}: {node.module}, not {room}")
    return past


OUTSIDE = [
    *SOURCES,
    *sorted((ROOT / "service/tests").rglob("*.py")),
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted(path for path in (ROOT / "bench").rglob("*.py")),
]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_is_imported_by_its_front_door(path: Path) -> None:
    assert inner_imports(path) == []


@pytest.mark.parametrize("name", sorted(kit_rooms()))
def test_a_front_door_lists_what_it_exports_once_and_for_all(name: str) -> None:
    path = next(path for path in SOURCES if module_of(path) == name)
    tree = ast.parse(path.read_text())
    seen = {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{name}.")
        for alias in node.names
    }
    room = importlib.import_module(name)
    public: list[str] = getattr(room, "__all__", [])
    assert sorted(public) == sorted(seen), "what type checkers see is not __all__"
    if hasattr(room, "__getattr__"):
        modules = {inner.stem for inner in path.parent.iterdir()}
        assert modules & set(public) == set(), "importing the module would hide the lazy name"
    for each in public:
        assert getattr(room, each) is getattr(importlib.import_module(seen[each] or ""), each)


def test_every_module_of_the_kit_is_used_by_the_service_its_commands_or_the_bench() -> None:
    reached: set[str] = set()
    waiting = [
        ROOT / "kit/src/paceline/scaffold/program.py",  # of the kit's own program
        *(ROOT / "service/src").rglob("*.py"),
        *(ROOT / "bench").rglob("*.py"),
        *(ROOT / "service/tests").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
    ]
    paths = {module_of(path): path for path in SOURCES}
    while waiting:
        path = waiting.pop()
        for name in names_imported(path):
            parts = name.split(".")
            for module in [".".join(parts[:n]) for n in range(1, len(parts) + 1)]:
                for found in {module, f"{module}.__main__"} & paths.keys() - reached:
                    reached.add(found)  # the second is run as ``python -m``
                    waiting.append(paths[found])
    kit = {name for name in paths if name.startswith("paceline")}
    assert kit - reached == set()


def names_imported(path: Path) -> set[str]:
    """Full names, so that ``from paceline.http import server`` counts as ``paceline.http.server.server``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(re.findall(r"^([a-z_.]+):[a-z_]+$", node.value))  # a lazy command's place
    return found


DOMAIN = {"transfer", "transfers", "order", "orders", "balance", "balances", "ledger"}
# What SQL and protocols say, which is no word of a domain.
TECHNICAL = re.compile(r"ORDER BY|byte order|transfer coding|load_balance_hosts", re.IGNORECASE)


def test_the_kit_holds_no_domain_word() -> None:
    for path in SOURCES:
        if module_of(path).startswith("paceline"):
            text = path.read_text()
            tree = ast.parse(text)
            assert "myservice" not in text, module_of(path)
            assert words_of_names(tree) & DOMAIN == set(), module_of(path)
            assert words_of_strings(tree) & DOMAIN == set(), module_of(path)


def words_of_names(tree: ast.AST) -> set[str]:
    """The words that names are made of: prose may say "order", a name may not.

    The keywords of a call do not count: what is called has named them.
    """
    names = {
        getattr(node, attribute)
        for node in ast.walk(tree)
        if not isinstance(node, ast.keyword)
        for attribute in ("id", "name", "arg", "attr")
        if isinstance(getattr(node, attribute, None), str)
    }
    return {word.lower() for name in names for word in name.split("_")}


def words_of_strings(tree: ast.AST) -> set[str]:
    """The words in string literals, but not in docstrings, which stand by themselves."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    literals = [
        TECHNICAL.sub("", node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]
    return {word.lower() for text in literals for word in re.findall("[A-Za-z]+", text)}


def test_the_search_for_domain_words_looks_at_strings_and_not_at_docstrings() -> None:
    found = words_of_strings(
        ast.parse('"""In order."""\nx = "ORDERS", f"{y} orders.>", "ORDER BY z"')
    )
    assert found == {"orders", "z"}


def test_nothing_tracked_names_a_machines_path_or_a_registry() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode().split("\0")  # fmt: skip
    # Put together here, or this file would find itself.
    forbidden = [
        "/wo" + "rk/",
        "/ro" + "ot/",
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "npmjs" + ".org",
    ]
    for name in filter(None, tracked):
        path = ROOT / name
        if path.suffix in {".gz", ".png", ".svg"} or not path.is_file():
            continue
        text = path.read_text()
        assert [word for word in forbidden if word in text] == [], name
