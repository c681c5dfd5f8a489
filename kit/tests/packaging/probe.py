"""Import every room and every public name of the installed kit; print as JSON what happened.

Runs in an environment that has nothing but the kit: standard library only.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

import paceline

EAGER = "paceline.grpc.interceptors"
"""Loads gRPC when it is imported; looked at last, or what others load would not be seen."""


def rooms() -> list[str]:
    """The packages, and the modules beside them that users import."""
    root = Path(paceline.__file__).parent
    packages = [
        path.parent.relative_to(root).parts
        for path in root.rglob("__init__.py")
        if "template" not in path.parts  # whose packages are those of another project
    ]
    modules = [(path.stem,) for path in root.glob("*.py") if not path.stem.startswith("_")]
    names = [".".join(("paceline", *parts)) for parts in [*packages, *modules]]
    return sorted(names, key=lambda name: (name == EAGER, name))


def error_of(room: str, name: str | None) -> str:
    """What importing the room, or a name from it, says; empty when that succeeds."""
    try:
        module = import_module(room)
        if name is not None:
            getattr(module, name)
    except ImportError as exc:
        return str(exc)
    return ""


def main() -> None:
    """Look at all of them: first at the rooms alone, then at their names."""
    errors: dict[str, dict[str, str]] = {}
    loaded: dict[str, list[str]] = {}
    for room in rooms():
        before = set(sys.modules)
        errors[room] = {"": error_of(room, None)}
        loaded[room] = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
    for room, said in errors.items():
        public: list[str] = [] if said[""] else getattr(import_module(room), "__all__", [])
        said.update((name, error_of(room, name)) for name in public)
    sys.stdout.write(json.dumps({"errors": errors, "loaded": loaded}))


main()
