"""Public names of a package that are imported when they are first used (PEP 562).

Invariant: using one name imports the module that defines it and no other, so a command that only
needs a token does not load a database driver. A library that is not installed becomes an
ImportError that names the extra which installs it.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_exports(
    room: str, modules: Mapping[str, str], *, extra: str | None = None
) -> Callable[[str], object]:
    """The ``__getattr__`` of the package ``room``.

    ``modules``: for each public name the module, relative to the room, that defines it. ``extra``:
    the extra of this distribution that installs what the room needs.

    Errors: ``AttributeError`` for a name that is not public; ``ImportError`` without the extra.
    """

    def load(name: str) -> object:
        module = modules.get(name)
        if module is None:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        try:
            value: object = getattr(import_module(f"{room}.{module}"), name)
        except ModuleNotFoundError as exc:
            missing = (exc.name or "").partition(".")[0]
            if extra is None or missing == "paceline":
                raise
            raise ImportError(
                f"{room} needs {missing}, which is not installed: pip install 'paceline[{extra}]'"
            ) from exc
        setattr(sys.modules[room], name, value)  # so this is called once for each name
        return value

    return load
